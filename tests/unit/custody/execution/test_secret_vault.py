"""Secrets of swaps: sealed for one fill of one order, under a key of the vault's own."""

import secrets

import pytest

from lockstep.custody import SecretVault
from lockstep.custody.execution.envelope import SealContext, decode_envelope, open_envelope, seal
from lockstep.custody.execution.errors import SealBroken
from lockstep.custody.execution.kms import LocalKms, derive_key

KEY, SECRET, ORDER = secrets.token_bytes(32), secrets.token_bytes(32), secrets.token_bytes(32)


def test_open__same_fill_and_key__gives_the_secret_back() -> None:
    sealed = SecretVault(KEY).seal(ORDER, 0, SECRET)
    assert SECRET not in sealed
    assert SecretVault(KEY).open(ORDER, 0, sealed) == SECRET
    assert sealed != SecretVault(KEY).seal(ORDER, 0, SECRET), "every seal has a data key of its own"


@pytest.mark.parametrize(
    ("order", "fill", "key"),
    [(ORDER[::-1], 0, KEY), (ORDER, 1, KEY), (ORDER, 0, KEY[::-1])],
    ids=["another order", "another fill", "another key"],
)
def test_open__another_place_or_key__gives_nothing(order: bytes, fill: int, key: bytes) -> None:
    assert SecretVault(key).open(order, fill, SecretVault(KEY).seal(ORDER, 0, SECRET)) is None


def test_open__any_byte_edited_or_cut__gives_nothing() -> None:
    vault = SecretVault(KEY)
    sealed = vault.seal(ORDER, 0, SECRET)
    for at in range(len(sealed)):
        assert vault.open(ORDER, 0, sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :]) is None, at
        assert vault.open(ORDER, 0, sealed[:at]) is None, at


def test_seal__share_of_a_wallet__is_no_secret_of_a_swap_and_the_other_way_round() -> None:
    share = SealContext(
        app_id="app", wallet_id="w", address="0x", share="auth", set_id=bytes(16), index=1, threshold=2, total=3
    )
    vault, auth = SecretVault(KEY), LocalKms({1: KEY}, key_id="auth")
    own = LocalKms({1: derive_key(KEY, "swap-secrets:v1")}, key_id="swap-secrets")
    for kms in (auth, own):
        assert vault.open(ORDER, 0, seal(kms, SECRET, share)) is None
        with pytest.raises(SealBroken):
            open_envelope(kms, decode_envelope(vault.seal(ORDER, 0, SECRET)), share)
