"""Seals: a share opens in its own place with its own key, and nowhere else, whatever is done to its bytes."""

from __future__ import annotations

import dataclasses
import os
import secrets
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from lockstep.chains.evm import Address
from lockstep.custody.execution.envelope import SealContext, associated_data, decode_envelope, open_envelope, seal
from lockstep.custody.execution.errors import KeyFileInvalid, SameKeyForBothShares, SealBroken
from lockstep.custody.execution.kms import LocalKms, create_key_file, read_key_file
from lockstep.custody.execution.recovery import open_recovery_share, seal_recovery_share
from lockstep.custody.execution.shamir import split
from lockstep.custody.execution.shares import AuthShares, open_share, seal_share
from lockstep.custody.execution.types import WalletKey
from lockstep.kit.ids import AppId, WalletId

KEY = bytes(range(32))
KMS = LocalKms({1: KEY}, key_id="auth")
PLACE = SealContext(
    app_id="app",
    wallet_id="wallet",
    address="0x" + "11" * 20,
    share="auth",
    set_id=bytes(16),
    index=1,
    threshold=2,
    total=3,
)
WALLET = WalletKey(app_id=AppId("app"), wallet_id=WalletId("wallet"), address=Address("0x" + "11" * 20))


def open_bytes(provider: LocalKms, sealed: bytes, place: SealContext) -> bytearray:
    return open_envelope(provider, decode_envelope(sealed), place)


@given(st.binary(min_size=1, max_size=4096))
def test_envelope__sealed_and_opened_in_its_place__gives_the_bytes_back(plaintext: bytes) -> None:
    assert open_bytes(KMS, seal(KMS, plaintext, PLACE), PLACE) == plaintext


@pytest.mark.parametrize("size", [0, 4097])
def test_seal__nothing_or_too_much__is_refused(size: int) -> None:
    with pytest.raises(ValueError, match="to seal"):
        seal(KMS, bytes(size), PLACE)


def test_associated_data__version_one__keeps_its_exact_bytes() -> None:
    assert associated_data(PLACE, "AES-256-GCM", "auth") == (
        b'{"address":"0x1111111111111111111111111111111111111111","alg":"AES-256-GCM","app":"app","index":1,"kek":"auth",'
        b'"n":3,"set":"00000000000000000000000000000000","share":"auth","t":2,"v":1,"wallet":"wallet"}'
    )


@pytest.mark.parametrize(
    "change",
    [
        {"app_id": "other"},
        {"wallet_id": "other"},
        {"address": "0x" + "22" * 20},
        {"share": "exec"},
        {"set_id": bytes(15) + b"\x01"},
        {"index": 2},
        {"threshold": 3},
        {"total": 4},
    ],
)
def test_envelope__in_another_place__does_not_open(change: dict[str, object]) -> None:
    sealed = seal(KMS, b"share", PLACE)
    with pytest.raises(SealBroken):
        open_bytes(KMS, sealed, dataclasses.replace(PLACE, **change))  # type: ignore[arg-type]  # by name


def test_envelope__with_any_bit_flipped__does_not_open() -> None:
    sealed = seal(KMS, b"s" * 32, PLACE)
    for position in range(len(sealed) * 8):
        edited = bytearray(sealed)
        edited[position // 8] ^= 1 << position % 8
        with pytest.raises(SealBroken):
            open_bytes(KMS, bytes(edited), PLACE)


def test_envelope__cut_anywhere_or_prolonged__does_not_open() -> None:
    sealed = seal(KMS, b"s" * 32, PLACE)
    for length in range(len(sealed)):
        with pytest.raises(SealBroken):
            open_bytes(KMS, sealed[:length], PLACE)
    with pytest.raises(SealBroken):
        open_bytes(KMS, sealed + b"\x00", PLACE)


@given(st.binary(max_size=300))
def test_envelope__garbage__does_not_open(content: bytes) -> None:
    with pytest.raises(SealBroken):
        open_bytes(KMS, content, PLACE)
    with pytest.raises(SealBroken):
        open_bytes(KMS, b"CSE1\x01\x01" + content, PLACE)
    with pytest.raises(SealBroken):
        open_share(KMS, "auth", b"CSS1\x01" + content, WALLET)


def test_envelope__parts_of_two_mixed__does_not_open() -> None:
    one, other = (decode_envelope(seal(KMS, b"s" * 32, PLACE)) for _ in range(2))
    for mixed in (
        dataclasses.replace(one, wrapped_key=other.wrapped_key),
        dataclasses.replace(one, ciphertext=other.ciphertext),
        dataclasses.replace(one, nonce=other.nonce),
    ):
        with pytest.raises(SealBroken):
            open_envelope(KMS, mixed, PLACE)


def test_envelope__another_key__does_not_open() -> None:
    sealed = seal(KMS, b"share", PLACE)
    with pytest.raises(SealBroken):
        open_bytes(LocalKms({1: secrets.token_bytes(32)}, key_id="auth"), sealed, PLACE)
    with pytest.raises(SealBroken):
        open_bytes(LocalKms({1: KEY}, key_id="exec"), sealed, PLACE)


def test_kms__after_rotation__opens_old_and_new_and_refuses_unknown_versions() -> None:
    old = seal(KMS, b"old", PLACE)
    rotated = LocalKms({1: KEY, 2: secrets.token_bytes(32)}, key_id="auth")
    new = seal(rotated, b"new", PLACE)
    assert decode_envelope(new).kek_version == 2
    assert open_bytes(rotated, old, PLACE) == b"old"
    assert open_bytes(rotated, new, PLACE) == b"new"
    with pytest.raises(SealBroken, match="version 2"):
        open_bytes(KMS, new, PLACE)


def test_envelope__data_key_wrapped_anew__opens_without_touching_the_share() -> None:
    rotated = LocalKms({1: KEY, 2: secrets.token_bytes(32)}, key_id="auth")
    old = decode_envelope(seal(KMS, b"share", PLACE))
    aad = associated_data(PLACE, "AES-256-GCM", "auth")
    data_key = rotated.unwrap(old.wrapped_key, 1, aad)
    again = dataclasses.replace(old, wrapped_key=rotated.wrap(data_key, aad), kek_version=2)
    assert open_envelope(rotated, again, PLACE) == b"share"


def test_seal__same_bytes_twice__never_looks_the_same() -> None:
    one, other = (decode_envelope(seal(KMS, b"share", PLACE)) for _ in range(2))
    assert one.nonce != other.nonce
    assert one.wrapped_key != other.wrapped_key
    assert one.ciphertext != other.ciphertext


# --- shares in their rows


def test_share__sealed_and_opened__comes_back_whole() -> None:
    share = split(b"k" * 32)[0]
    opened = open_share(KMS, "auth", seal_share(KMS, "auth", share, WALLET), WALLET)
    assert opened == share


def test_share__in_the_place_of_another_kind__does_not_open() -> None:
    share = split(b"k" * 32)[0]
    sealed = seal_share(KMS, "auth", share, WALLET)
    with pytest.raises(SealBroken):
        open_share(KMS, "exec", sealed, WALLET)
    relabelled = sealed[:4] + b"\x02" + sealed[5:]
    with pytest.raises(SealBroken):
        open_share(KMS, "exec", relabelled, WALLET)


def test_share__every_byte_of_its_head_edited__does_not_open() -> None:
    sealed = seal_share(KMS, "auth", split(b"k" * 32)[0], WALLET)
    for position in range(24):
        edited = bytearray(sealed)
        edited[position] ^= 0x01
        with pytest.raises(SealBroken):
            open_share(KMS, "auth", bytes(edited), WALLET)


def test_recovery_share__sealed_to_a_public_key__opens_with_the_private_key_in_its_place_only() -> None:
    private = X25519PrivateKey.generate()
    share = split(b"k" * 32)[2]
    sealed = seal_recovery_share(private.public_key(), share, WALLET)
    assert open_recovery_share(private, sealed, WALLET) == share
    with pytest.raises(SealBroken):
        open_recovery_share(private, sealed, dataclasses.replace(WALLET, wallet_id=WalletId("other")))
    with pytest.raises(SealBroken):
        open_recovery_share(X25519PrivateKey.generate(), sealed, WALLET)
    for cut in (10, 40, len(sealed) - 1):
        with pytest.raises(SealBroken):
            open_recovery_share(private, sealed[:cut], WALLET)
    with pytest.raises(SealBroken):
        open_recovery_share(private, sealed[:-1] + bytes([sealed[-1] ^ 1]), WALLET)


# --- key files


def test_key_file__made_here__is_private_and_reads_back(tmp_path: Path) -> None:
    path = tmp_path / "key"
    create_key_file(path, KEY)
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_key_file(path) == KEY
    with pytest.raises(FileExistsError):
        create_key_file(path)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "ab" * 31,
        "ab" * 33,
        "ab" * 32 + "\n\n",
        " " + "ab" * 32,
        "zz" * 32,
        "0x" + "ab" * 31,
        "q83v" * 11,
        "ab" * 64,
    ],
)
def test_key_file__anything_but_64_hex_digits__is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "key"
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(KeyFileInvalid, match="64 hex digits") as refused:
        read_key_file(path)
    assert not content or content not in str(refused.value)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_key_file__open_to_others__is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "key"
    create_key_file(path, KEY)
    path.chmod(mode)
    with pytest.raises(KeyFileInvalid, match="0600"):
        read_key_file(path)


def test_key_file__missing_or_no_file__is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    for path in (tmp_path / "none", tmp_path / "pipe", tmp_path):
        with pytest.raises(KeyFileInvalid):
            read_key_file(path)


def test_auth_shares__same_key_as_the_exec_shares__is_refused() -> None:
    exec_side = LocalKms({3: KEY}, key_id="exec")
    with pytest.raises(SameKeyForBothShares):
        AuthShares(KMS, exec_fingerprint=exec_side.fingerprint)
    with pytest.raises(SameKeyForBothShares):
        AuthShares(
            LocalKms({1: KEY, 2: secrets.token_bytes(32)}, key_id="auth"), exec_fingerprint=exec_side.fingerprint
        )
    AuthShares(KMS, exec_fingerprint=LocalKms({1: secrets.token_bytes(32)}, key_id="exec").fingerprint)
