from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.counts import examples

from lockstep.chains.evm import MalformedCalldata, abi_decode, abi_encode
from lockstep.custody.view.calldata import decode_arguments, split_types

WORD = st.binary(min_size=32, max_size=32)
ATOMS = ("address", "bool", "uint8", "uint128", "uint256", "int8", "int256", "bytes1", "bytes4", "bytes32")


def strict(types: tuple[str, ...], raw: bytes) -> tuple[Any, ...] | None:
    try:
        return abi_decode(types, raw)
    except MalformedCalldata:
        return None


@settings(deadline=None)
@given(
    types=st.lists(st.sampled_from(ATOMS), max_size=4).map(tuple),
    words=st.lists(
        st.one_of(WORD, st.integers(0, 300).map(lambda n: n.to_bytes(32, "big")), st.just(b"\xff" * 32)), max_size=5
    ),
    tail=st.sampled_from((b"", b"\x00", b"\x01" * 31)),
)
def test_decode_arguments__static_types__agrees_with_the_general_decoder(
    types: tuple[str, ...], words: list[bytes], tail: bytes
) -> None:
    raw = b"".join(words) + tail

    assert decode_arguments(types, raw) == strict(types, raw)


@given(number=st.integers(0, 2**128), text=st.text(max_size=40), blob=st.binary(max_size=70))
def test_decode_arguments__canonical_dynamic_values__come_back(number: int, text: str, blob: bytes) -> None:
    types = ("uint256", "string", "bytes")

    assert decode_arguments(types, abi_encode(types, (number, text, blob))) == (number, text, blob)


def _values(kind: str) -> st.SearchStrategy[Any]:
    if kind.endswith("]"):
        inner, length = kind[: kind.rindex("[")], kind[kind.rindex("[") + 1 : -1]
        size = {"min_size": int(length), "max_size": int(length)} if length else {"max_size": 3}
        return st.lists(_values(inner), **size).map(tuple)
    if kind.startswith("("):
        return st.tuples(*map(_values, split_types(kind[1:-1])))
    simple: dict[str, st.SearchStrategy[Any]] = {
        "address": st.binary(min_size=20, max_size=20).map(lambda raw: "0x" + raw.hex()),
        "bool": st.booleans(),
        "uint8": st.integers(0, 255),
        "int16": st.integers(-(2**15), 2**15 - 1),
        "bytes4": st.binary(min_size=4, max_size=4),
        "bytes": st.binary(max_size=70),
        "string": st.text(max_size=20),
    }
    return simple[kind]


nested_types = st.recursive(
    st.sampled_from(("address", "bool", "uint8", "int16", "bytes4", "bytes", "string")),
    lambda inner: st.one_of(
        inner.map(lambda kind: f"{kind}[]"),
        inner.map(lambda kind: f"{kind}[2]"),
        st.lists(inner, min_size=1, max_size=3).map(lambda kinds: f"({','.join(kinds)})"),
    ),
    max_leaves=4,
)


@settings(deadline=None, max_examples=examples(200))
@given(data=st.data(), types=st.lists(nested_types, min_size=1, max_size=3).map(tuple))
def test_decode_arguments__any_types__agrees_with_the_general_decoder(data: Any, types: tuple[str, ...]) -> None:
    values = tuple(data.draw(_values(kind)) for kind in types)
    raw = bytearray(abi_encode(types, values))
    assert decode_arguments(types, bytes(raw)) == values

    if raw:
        place = data.draw(st.integers(0, len(raw) - 1))
        raw[place] = data.draw(st.sampled_from((0, 1, 0x20, 0x40, 0x60, 0x80, 0xFF)))
    assert decode_arguments(types, bytes(raw)) == strict(types, bytes(raw))


def test_decode_arguments__lists_that_claim_one_tail_many_times__are_refused_at_once() -> None:
    many = 1_000
    pointer, inner = (32 * many).to_bytes(32, "big"), many.to_bytes(32, "big") + bytes(32 * many)
    raw = (32).to_bytes(32, "big") + many.to_bytes(32, "big") + pointer * many + inner
    began = time.perf_counter()

    assert decode_arguments(("uint256[][]",), raw) is None
    assert decode_arguments(("uint256[999999][999999]",), raw) is None
    assert decode_arguments(("uint256[]",), b"\xff" * 64) is None
    assert time.perf_counter() - began < 0.5


@pytest.mark.parametrize("kind", ["uint257[", "fixed128x18", "tuple", "function", "uint256[-1]", "", "(", ")"])
def test_decode_arguments__type_that_is_not_one__reads_nothing(kind: str) -> None:
    assert decode_arguments((kind,), bytes(64)) is None


@pytest.mark.parametrize(
    "change",
    [
        lambda raw: raw + b"\x00",
        lambda raw: raw[:-1],
        lambda raw: raw[:31] + b"\x40" + raw[32:64] + raw[32:],
        lambda raw: raw[:-1] + b"\x01",
        lambda raw: b"\xff" * len(raw),
        lambda raw: raw[:32] + b"\xff" * 32 + raw[64:],
    ],
)
def test_decode_arguments__dynamic_value_in_another_form__is_not_read(change: Any) -> None:
    raw = abi_encode(("bytes",), (b"abc",))

    assert decode_arguments(("bytes",), raw) == (b"abc",)
    assert decode_arguments(("bytes",), change(raw)) is None
