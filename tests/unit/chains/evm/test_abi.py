"""ABI codecs against eth-abi; anything that is not canonical is refused, quickly."""

import contextlib
import time

import eth_abi
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.counts import examples

from lockstep.chains.evm import (
    Contract,
    MalformedCalldata,
    UnknownArtifact,
    abi_decode,
    abi_encode,
    abi_encode_call,
    decode_revert,
    event_topic,
    function_selector,
    load_artifact,
)

STRUCT = {
    "type": "tuple",
    "components": [
        {"name": "maker", "type": "address"},
        {
            "name": "points",
            "type": "tuple[]",
            "components": [{"name": "bump", "type": "uint32"}, {"name": "delay", "type": "uint32"}],
        },
    ],
}
ABI = [
    {"type": "constructor", "inputs": [{"name": "owner", "type": "address"}]},
    {
        "type": "function",
        "name": "create",
        "inputs": [{"name": "order", **STRUCT}, {"name": "signature", "type": "bytes"}],
        "outputs": [{"name": "", **STRUCT}],
        "stateMutability": "payable",
    },
    {"type": "function", "name": "twice", "inputs": [], "outputs": []},
    {"type": "function", "name": "twice", "inputs": [{"name": "x", "type": "bool"}], "outputs": []},
    {
        "type": "event",
        "name": "Created",
        "inputs": [
            {"name": "hash", "type": "bytes32", "indexed": True},
            {"name": "order", **STRUCT, "indexed": False},
            {"name": "note", "type": "string", "indexed": True},
        ],
    },
    {"type": "error", "name": "TooLate", "inputs": [{"name": "now", "type": "uint256"}]},
]
MAKER = "0x" + "ab" * 20
ORDER = {"maker": MAKER, "points": [{"bump": 1, "delay": 2}, {"bump": 3, "delay": 4}]}

_TYPES: dict[str, st.SearchStrategy] = {
    "address": st.binary(min_size=20, max_size=20).map(lambda raw: "0x" + raw.hex()),
    "bool": st.booleans(),
    "string": st.text(max_size=40),
    "bytes": st.binary(max_size=70),
    "bytes5": st.binary(min_size=5, max_size=5),
    "uint8": st.integers(0, 255),
    "uint256": st.integers(0, 2**256 - 1),
    "int24": st.integers(-(2**23), 2**23 - 1),
    "uint32[]": st.lists(st.integers(0, 2**32 - 1), max_size=3).map(tuple),
    "bytes[2]": st.tuples(st.binary(max_size=40), st.binary(max_size=40)),
    "(bool,string)[]": st.lists(st.tuples(st.booleans(), st.text(max_size=10)), max_size=2).map(tuple),
    "(uint8,(bytes,int24)[1])": st.tuples(
        st.integers(0, 255), st.tuples(st.tuples(st.binary(max_size=5), st.integers(-9, 9)))
    ),
    "uint8[2][]": st.lists(st.tuples(st.integers(0, 255), st.integers(0, 255)), max_size=2).map(tuple),
}


@st.composite
def _values(draw: st.DrawFn) -> tuple[list[str], list[object]]:
    kinds = draw(st.lists(st.sampled_from(sorted(_TYPES)), max_size=5))
    return kinds, [draw(_TYPES[kind]) for kind in kinds]


@settings(max_examples=examples(150), deadline=None)
@given(_values())
def test_abi__any_values__same_bytes_and_values_as_eth_abi(case: tuple[list[str], list[object]]) -> None:
    types, values = case
    raw = eth_abi.encode(types, values)
    assert abi_encode(types, values) == raw
    assert abi_decode(types, raw) == tuple(values) == tuple(eth_abi.decode(types, raw))
    for broken in (raw + b"\x00", raw + bytes(32), raw[:-1]):
        if broken != raw:
            with pytest.raises(MalformedCalldata):
                abi_decode(types, broken)


@settings(max_examples=examples(150), deadline=None)
@given(_values(), st.data())
def test_abi_decode__one_byte_changed__refused_or_canonical(case: tuple[list[str], list[object]], data) -> None:
    types, values = case
    raw = bytearray(eth_abi.encode(types, values))
    if raw:
        raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(MalformedCalldata):
        assert abi_encode(types, abi_decode(types, bytes(raw))) == bytes(raw)


def test_abi_decode__offsets_that_share_one_array__refused_quickly() -> None:
    def word(number: int) -> bytes:
        return number.to_bytes(32, "big")

    shared = word(32) + word(1000) + word(32_000) * 1000 + word(1000) + word(1) * 1000
    giant = word(32) + word(2**255)
    started = time.perf_counter()
    for types, raw in ((["uint256[][]"], shared), (["uint256[]"], giant), (["bytes"], giant)):
        with pytest.raises(MalformedCalldata):
            abi_decode(types, raw)
    assert time.perf_counter() - started < 0.5
    for bad in ("uint7", "()[]", "uint8[0]", "fixed128x18", "Foo", "bool" + "[]" * 20):
        with pytest.raises(MalformedCalldata):
            abi_decode([bad], b"")


def test_contract__call_with_structs__round_trip_by_name() -> None:
    contract = Contract(ABI)
    data = contract.encode("create", {"order": ORDER, "signature": b"\x01"})
    assert data == contract.encode("create", [[MAKER, [(1, 2), (3, 4)]], b"\x01"])
    signature = "create((address,(uint32,uint32)[]),bytes)"
    assert data[:4] == contract.selector("create") == function_selector(signature)
    assert data == abi_encode_call(signature, [(MAKER, ((1, 2), (3, 4))), b"\x01"])
    call = contract.decode_call(data)
    assert call is not None
    assert (call.name, call.signature) == ("create", signature)
    assert call.args == {"order": {**ORDER}, "signature": b"\x01"}
    assert contract.decode_call(b"\x00" * 4) is None
    result = abi_encode(["(address,(uint32,uint32)[])"], [(MAKER, ((5, 6),))])
    assert contract.decode_result("create", result) == {"maker": MAKER, "points": [{"bump": 5, "delay": 6}]}


def test_contract__wrong_members_or_overload__refused() -> None:
    contract = Contract(ABI)
    with pytest.raises(MalformedCalldata):
        contract.encode("create", {"order": {"maker": MAKER}, "signature": b""})
    with pytest.raises(MalformedCalldata):
        contract.encode("create", [ORDER])
    with pytest.raises(MalformedCalldata):
        contract.encode("create", [{**ORDER, "maker": "0x12"}, b""])
    with pytest.raises(KeyError):
        contract.encode("twice")
    assert contract.encode("twice()") == function_selector("twice()")
    with pytest.raises(ValueError, match="selector"):
        Contract([*ABI, ABI[2]])


def test_contract__event__decoded_by_name() -> None:
    contract = Contract(ABI)
    topic = event_topic("Created(bytes32,(address,(uint32,uint32)[]),string)")
    log = {
        "topics": ["0x" + topic.hex(), "0x" + "11" * 32, "0x" + "22" * 32],
        "data": "0x" + abi_encode(["(address,(uint32,uint32)[])"], [(MAKER, ((1, 2), (3, 4)))]).hex(),
    }
    event = contract.decode_event(log)
    assert event is not None
    assert event.args == {"hash": b"\x11" * 32, "order": ORDER, "note": b"\x22" * 32}
    assert contract.topic("Created") == topic
    assert contract.decode_event({"topics": [b"\x00" * 32], "data": b""}) is None
    assert contract.decode_event({**log, "topics": log["topics"][:2]}) is None


def test_decode_revert__message_panic_and_custom_error__in_words() -> None:
    contract = Contract(ABI)
    assert decode_revert(b"") == "reverted without a reason"
    assert decode_revert(bytes.fromhex("08c379a0") + abi_encode(["string"], ["no"])) == "no"
    assert "overflow" in decode_revert(bytes.fromhex("4e487b71") + abi_encode(["uint256"], [0x11]))
    custom = function_selector("TooLate(uint256)") + abi_encode(["uint256"], [7])
    assert decode_revert(custom, contract) == "TooLate(now=7)"
    assert decode_revert(custom).startswith("reverted with 0x")


def test_decode_revert__words_that_no_column_takes__are_escaped_and_cut() -> None:
    words = bytes.fromhex("08c379a0") + abi_encode(["string"], ["\x00\u202e\n" + "é" * 10_000])
    assert decode_revert(words) == "\\x00\\u202e\\n" + "é" * 497


def test_decode_revert__custom_error_of_erc20_without_its_contract__is_named() -> None:
    values = abi_encode(["address", "uint256", "uint256"], [MAKER, 0, 5])
    data = function_selector("ERC20InsufficientBalance(address,uint256,uint256)") + values
    assert decode_revert(data) == f"ERC20InsufficientBalance(sender={MAKER}, balance=0, needed=5)"


def test_contract__deploy__arguments_behind_the_code() -> None:
    assert Contract(ABI).encode_deploy({"owner": MAKER}) == bytes(12) + bytes.fromhex("ab" * 20)


def test_load_artifact__unknown_or_odd_name__refused() -> None:
    for name in ("Nothing", "../errors", ""):
        with pytest.raises(UnknownArtifact):
            load_artifact(name)
