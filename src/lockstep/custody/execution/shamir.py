"""Shamir's secret sharing, byte by byte over GF(2^8) with the polynomial 0x11b.

Splits and combines; knows nothing about what the bytes are. Shares carry no integrity of their own: whoever combines
them must check the result (here: that the key has the expected address). Table look-ups are not constant-time, so
shares of keys are combined inside the signer only.
Source: A. Shamir, "How to share a secret" (1979); field of FIPS 197 section 4.2.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

SET_ID_BYTES = 16
MAX_SHARES = 255


class SharesRefused(ValueError):
    """These shares cannot be combined, or these parameters cannot split a secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """One share: the value of the polynomials at x = `index`.

    `set_id` is the same for the shares of one split and for nothing else; `threshold` of the `total` make the secret.
    """

    set_id: bytes
    index: int
    threshold: int
    total: int
    value: bytearray

    def __post_init__(self) -> None:
        if len(self.set_id) != SET_ID_BYTES:
            raise SharesRefused(f"expected a set id of {SET_ID_BYTES} bytes, was {len(self.set_id)}")
        _check_parameters(self.threshold, self.total)
        if not 1 <= self.index <= self.total:
            raise SharesRefused(f"expected an index between 1 and {self.total}, was {self.index}")
        if not self.value:
            raise SharesRefused("a share has at least one byte")

    def __repr__(self) -> str:
        return f"Share(set {self.set_id.hex()}, {self.index} of {self.total})"

    def wipe(self) -> None:
        """Overwrite the value, as far as Python lets one."""
        wipe(self.value)


def wipe(content: bytearray) -> None:
    """Overwrite bytes in place; copies made by others are not reached."""
    content[:] = bytes(len(content))


def split(secret: bytes | bytearray, *, threshold: int = 2, total: int = 3) -> tuple[Share, ...]:
    """Split a secret into `total` shares of which any `threshold` make it again, in the order of their index.

    Coefficients are uniform over all 256 values, the leading one included: forcing it to be non-zero would let a single
    share exclude one value of each byte.

    Raises:
        SharesRefused: an empty secret, or not 2 <= threshold <= total <= 255.
    """
    _check_parameters(threshold, total)
    if not secret:
        raise SharesRefused("there is nothing to split")
    set_id = secrets.token_bytes(SET_ID_BYTES)
    higher = [bytearray(secrets.token_bytes(len(secret))) for _ in range(threshold - 1)]
    shares = []
    for index in range(1, total + 1):
        times_x = _multiples(index)
        value = bytearray(len(secret))
        for coefficients in (*higher, secret):
            for position, coefficient in enumerate(coefficients):
                value[position] = times_x[value[position]] ^ coefficient
        shares.append(Share(set_id=set_id, index=index, threshold=threshold, total=total, value=value))
    for coefficients in higher:
        wipe(coefficients)
    return tuple(shares)


def combine(shares: Sequence[Share]) -> bytearray:
    """The secret that exactly `threshold` shares of one set make. The caller checks and wipes it.

    Raises:
        SharesRefused: another number of shares than the threshold, shares of different sets or parameters, one index
            twice, or values of different lengths.
    """
    if not shares:
        raise SharesRefused("there is no share")
    first = shares[0]
    if len(shares) != first.threshold:
        raise SharesRefused(f"expected {first.threshold} shares, was {len(shares)}")
    for share in shares[1:]:
        if share.set_id != first.set_id:
            raise SharesRefused("the shares are of different sets")
        if (share.threshold, share.total) != (first.threshold, first.total):
            raise SharesRefused("the shares do not agree on threshold and total")
        if len(share.value) != len(first.value):
            raise SharesRefused("the shares have different lengths")
    indices = [share.index for share in shares]
    if len(set(indices)) != len(indices):
        raise SharesRefused("one share was given twice")
    secret = bytearray(len(first.value))
    for share in shares:
        weighted = _multiples(_weight_at_zero(share.index, tuple(indices)))
        for position, byte in enumerate(share.value):
            secret[position] ^= weighted[byte]
    return secret


def _check_parameters(threshold: int, total: int) -> None:
    if not 2 <= threshold <= total <= MAX_SHARES:
        raise SharesRefused(f"expected 2 <= threshold <= total <= {MAX_SHARES}, was {threshold} of {total}")


def multiply(a: int, b: int) -> int:
    """Product in GF(2^8) with 0x11b."""
    product = 0
    while b:
        product ^= a if b & 1 else 0
        a = a << 1 ^ (0x11B if a & 0x80 else 0)
        b >>= 1
    return product


@lru_cache(maxsize=256)
def _multiples(factor: int) -> bytes:
    return bytes(multiply(factor, value) for value in range(256))


@lru_cache(maxsize=1024)
def _weight_at_zero(index: int, indices: tuple[int, ...]) -> int:
    """Value at 0 of the Lagrange polynomial that is 1 at `index` and 0 at the other indices."""
    weight = 1
    for other in indices:
        if other != index:
            weight = multiply(weight, multiply(other, _inverse(other ^ index)))
    return weight


def _inverse(value: int) -> int:
    """a^254, which is 1/a for every non-zero a."""
    result = 1
    for _ in range(254):
        result = multiply(result, value)
    return result
