"""Ed25519 keys in the signer: made and split like the others, and used for nothing but what belongs to them."""

from __future__ import annotations

import dataclasses

import pytest
from signing_side import Signing, payment

from lockstep.chains.cardano import enterprise_address, message_payload
from lockstep.custody.execution import (
    CardanoMessagePayload,
    CardanoTransactionPayload,
    NewKey,
    PayloadRefused,
    PersonalMessagePayload,
    ShareMismatch,
    SigningRefused,
    WalletKey,
    fingerprint,
    is_signed_by,
)
from lockstep.custody.execution.ed25519 import generate_seed, public_key, sign
from lockstep.kit.errors import LockstepError
from lockstep.kit.ids import AppId, WalletId, new_id

BODY = bytes.fromhex(
    "a50081825820732bfd67e66be8e8288349fcaaa2294973ef6271cc189a239bb431275401b8e500018282581d60f6532850e1bccee9c72a9113"
    "ad98bcc5dbb30d2ac960262444f6e5f41b000000174876e80082581d60f6532850e1bccee9c72a9113ad98bcc5dbb30d2ac960262444f6e5f4"
    "1b000000ba43b4b7f7021a000288090d800e80"
)
TRANSACTION = CardanoTransactionPayload(BODY)


async def new_key(signing: Signing) -> tuple[WalletKey, NewKey]:
    app, wallet = AppId(new_id()), WalletId(new_id())
    signer = await signing.executor.identity()
    grant = signing.issuer.issue_generation(signer, app, wallet, "decision", "ed25519")
    made = await signing.executor.generate_key(app, wallet, grant)
    return WalletKey(app_id=app, wallet_id=wallet, address=made.address), made


async def test_generate_key__on_ed25519__has_its_fingerprint_for_an_address(signing: Signing) -> None:
    key, made = await new_key(signing)

    assert len(made.public_key) == 32
    assert key.address == made.address == fingerprint(made.public_key)


async def test_sign__transaction_and_message__verify_under_the_public_key(signing: Signing) -> None:
    key, made = await new_key(signing)

    signature = await signing.executor.sign(await signing.request(key, made, TRANSACTION))
    assert len(signature.content) == 64
    assert is_signed_by(made.public_key, TRANSACTION.digest(), signature.content)
    address = enterprise_address(made.public_key, "testnet")
    message = CardanoMessagePayload(address, b"hello")
    signature = await signing.executor.sign(await signing.request(key, made, message))
    assert is_signed_by(made.public_key, message_payload(address, b"hello"), signature.content)
    assert not is_signed_by(made.public_key, message.digest(), signature.content)


async def test_trap_13__key_of_one_curve__signs_nothing_of_the_other(signing: Signing) -> None:
    cardano, made = await new_key(signing)
    for payload in (payment(), PersonalMessagePayload(BODY)):
        with pytest.raises(ShareMismatch):
            await signing.executor.sign(await signing.request(cardano, made, payload))
    evm, made = await signing.new_key()
    with pytest.raises(ShareMismatch):
        await signing.executor.sign(await signing.request(evm, made, TRANSACTION))


async def test_sign__another_body_than_authorized__is_refused(signing: Signing) -> None:
    key, made = await new_key(signing)
    request = await signing.request(key, made, TRANSACTION)
    other = CardanoTransactionPayload(BODY.replace(bytes.fromhex("1a00028809"), bytes.fromhex("1a00028808")))
    with pytest.raises(SigningRefused):
        await signing.executor.sign(dataclasses.replace(request, payload=other))
    as_message = CardanoMessagePayload(b"", BODY)
    with pytest.raises(SigningRefused):
        await signing.executor.sign(dataclasses.replace(request, payload=as_message))


async def test_sign__bytes_that_are_no_body__are_refused_by_the_signer_itself(signing: Signing) -> None:
    key, made = await new_key(signing)
    request = await signing.request(key, made, TRANSACTION)
    for raw in (b"", b"h" * 32, BODY + b"\x00", BODY[:-1]):
        with pytest.raises(LockstepError) as caught:
            await signing.executor.sign(dataclasses.replace(request, payload=CardanoTransactionPayload(raw)))
        assert caught.value.code in (PayloadRefused.code, "malformed_cardano_body")


async def test_generate_key__the_curve_of_the_authorization__cannot_be_changed(signing: Signing) -> None:
    _, made = await signing.new_key()
    assert len(made.public_key) == 65
    key, _ = await new_key(signing)
    signer = await signing.executor.identity()
    with pytest.raises(SigningRefused):
        wrong = signing.issuer.issue_generation(signer, key.app_id, WalletId(new_id()), "decision", "ed25519")
        await signing.executor.generate_key(key.app_id, WalletId(new_id()), wrong)


def test_sign__key_of_another_fingerprint__is_refused() -> None:
    one, other = generate_seed(), generate_seed()
    assert is_signed_by(public_key(one), b"x", sign(one, b"x", fingerprint(public_key(one))))
    with pytest.raises(ShareMismatch):
        sign(one, b"x", fingerprint(public_key(other)))
    with pytest.raises(ShareMismatch):
        public_key(bytearray(31))
