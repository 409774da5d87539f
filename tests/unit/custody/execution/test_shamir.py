"""Shamir's scheme: any two of three make the secret, one says nothing, and what does not belong together is refused."""

from __future__ import annotations

import dataclasses
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockstep.custody.execution.shamir import Share, SharesRefused, combine, multiply, split


@given(st.binary(min_size=1, max_size=64))
def test_combine__any_two_of_three__makes_the_secret(secret: bytes) -> None:
    shares = split(secret)
    assert [share.index for share in shares] == [1, 2, 3]
    for pair in itertools.permutations(shares, 2):
        assert combine(pair) == secret


@given(st.data(), st.binary(min_size=1, max_size=16))
def test_combine__any_threshold__makes_the_secret(data: st.DataObject, secret: bytes) -> None:
    total = data.draw(st.integers(2, 9))
    threshold = data.draw(st.integers(2, total))
    shares = split(secret, threshold=threshold, total=total)
    chosen = data.draw(st.permutations(shares))[:threshold]
    assert combine(chosen) == secret


def test_one_share__for_every_secret__fits_exactly_one_line() -> None:
    # For a given share, each secret byte is made by exactly one leading coefficient, zero included: no byte is excluded.
    index, value = 2, 0x5A
    fitting = {secret: [a for a in range(256) if multiply(a, index) ^ secret == value] for secret in range(256)}
    assert all(len(coefficients) == 1 for coefficients in fitting.values())


def test_split__leading_coefficient_of_zero__can_happen() -> None:
    # With a zero coefficient a share byte equals the secret byte: 3,200 bytes miss it with probability 4e-6.
    secret = bytes(3200)
    assert 0 in split(secret)[0].value


def test_multiply__published_products__agree() -> None:
    assert multiply(0x57, 0x83) == 0xC1  # FIPS 197 section 4.2
    assert multiply(0x57, 0x13) == 0xFE
    assert all(multiply(a, 1) == a for a in range(256))


def test_combine__shares_of_two_sets__is_refused() -> None:
    one, other = split(b"s" * 32), split(b"s" * 32)
    with pytest.raises(SharesRefused, match="different sets"):
        combine([one[0], other[1]])


def test_combine__one_share_twice__is_refused() -> None:
    share = split(b"s" * 32)[0]
    with pytest.raises(SharesRefused, match="twice"):
        combine([share, share])


@pytest.mark.parametrize("count", [0, 1, 3])
def test_combine__another_number_than_the_threshold__is_refused(count: int) -> None:
    with pytest.raises(SharesRefused):
        combine(split(b"s" * 32)[:count])


def test_combine__parameters_that_differ__is_refused() -> None:
    first, second, _ = split(b"s" * 32)
    with pytest.raises(SharesRefused, match="agree"):
        combine([first, dataclasses.replace(second, total=4)])
    with pytest.raises(SharesRefused, match="lengths"):
        combine([first, dataclasses.replace(second, value=second.value[:31])])


@pytest.mark.parametrize(
    "change",
    [{"index": 0}, {"index": 4}, {"threshold": 1}, {"threshold": 4}, {"total": 256}, {"set_id": b"x"}, {"value": b""}],
)
def test_share__fields_that_cannot_be__is_refused(change: dict[str, object]) -> None:
    fields = {"set_id": bytes(16), "index": 1, "threshold": 2, "total": 3, "value": bytearray(b"v")}
    with pytest.raises(SharesRefused):
        Share(**{**fields, **change})  # type: ignore[arg-type]  # wrong on purpose


@pytest.mark.parametrize(("threshold", "total"), [(1, 3), (4, 3), (2, 256), (0, 0)])
def test_split__parameters_out_of_range__is_refused(threshold: int, total: int) -> None:
    with pytest.raises(SharesRefused):
        split(b"s", threshold=threshold, total=total)


def test_share__shown__says_nothing_about_its_value() -> None:
    share = split(b"\xab" * 32)[0]
    assert share.value.hex() not in repr(share)
    share.wipe()
    assert share.value == bytes(32)
