"""The checks of a signature, end to end in one process: whatever is swapped, edited or replayed, nothing is released."""

from __future__ import annotations

import asyncio
import dataclasses
import secrets
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from signing_side import RECIPIENT, Signing, payment

from lockstep.chains.evm import (
    ENTRY_POINT,
    Address,
    Authorization,
    UserOperation,
    address_from_public_key,
    recover_address,
)
from lockstep.custody.execution import (
    AuthorizationExpired,
    AuthorizationKey,
    AuthorizationPayload,
    AuthShares,
    BlindPayload,
    LocalExecutor,
    LocalKms,
    Payload,
    PayloadRefused,
    PersonalMessagePayload,
    SameKeyForBothShares,
    SealBroken,
    ShareMismatch,
    Signature,
    SignerRestarted,
    SigningRefused,
    TypedDataPayload,
    UserOperationPayload,
    WalletKeyExists,
    WalletKeyMissing,
    open_recovery_share,
)
from lockstep.custody.execution.core import SigningCore
from lockstep.custody.execution.keys import public_address
from lockstep.custody.execution.shamir import combine, split
from lockstep.custody.execution.shares import open_share
from lockstep.custody.execution.store import MemoryShareStore
from lockstep.kit.clock import SystemClock
from lockstep.kit.errors import LockstepError, Unprocessable
from lockstep.kit.ids import WalletId, new_id

TYPED = TypedDataPayload(
    {
        "types": {"Note": [{"name": "text", "type": "string"}]},
        "primaryType": "Note",
        "domain": {"name": "Notes"},
        "message": {"text": "hello"},
    }
)


DELEGATION = AuthorizationPayload(Authorization(chain_id=31337, contract=Address("0x" + "35" * 20), nonce=1))


OPERATION = UserOperationPayload(
    UserOperation(
        chain_id=31337,
        entry_point=ENTRY_POINT,
        sender=Address("0x" + "5a" * 20),
        nonce=1,
        call_data=b"",
        call_gas_limit=1,
        verification_gas_limit=1,
        pre_verification_gas=1,
        max_fee_per_gas=1,
        max_priority_fee_per_gas=1,
    )
)
BLIND = [BlindPayload(b"h" * 32), BlindPayload(b"any", "keccak256"), BlindPayload(b"any", "sha256")]


@pytest.mark.parametrize("payload", [payment(), TYPED, PersonalMessagePayload(b"hello"), DELEGATION, OPERATION, *BLIND])
async def test_sign__authorized__recovers_to_the_address(signing: Signing, payload: Payload) -> None:
    key, made = await signing.new_key()
    signature = await signing.executor.sign(await signing.request(key, made, payload))
    assert recover_address(payload.digest(), signature.content) == made.address
    assert address_from_public_key(made.public_key) == made.address
    assert signature.y_parity in (0, 1)


async def test_generate_key__for_a_wallet_that_has_one__never_overwrites(
    signing: Signing, store: MemoryShareStore
) -> None:
    key, made = await signing.new_key()
    before = dict(store.rows)
    grant = signing.issuer.issue_generation(await signing.executor.identity(), key.app_id, key.wallet_id, "again")
    with pytest.raises(WalletKeyExists):
        await signing.executor.generate_key(key.app_id, key.wallet_id, grant)
    assert store.rows == before
    await signing.executor.sign(await signing.request(key, made, payment()))


async def test_generate_key__without_its_authorization__is_refused(signing: Signing, store: MemoryShareStore) -> None:
    key, _ = await signing.new_key()
    identity = await signing.executor.identity()
    other = signing.issuer.issue_generation(identity, key.app_id, WalletId(new_id()), "decision")
    to_sign = await signing.authorize(key, payment())
    for grant in (b"", secrets.token_bytes(200), other, to_sign):
        with pytest.raises(SigningRefused):
            await signing.executor.generate_key(key.app_id, WalletId(new_id()), grant)
    assert len(store.rows) == 1


async def test_sign__authorization_replayed__is_refused(signing: Signing) -> None:
    key, made = await signing.new_key()
    request = await signing.request(key, made, payment())
    await signing.executor.sign(request)
    with pytest.raises(SigningRefused, match="before"):
        await signing.executor.sign(request)


async def test_sign__authorization_expired__is_refused(signing: Signing) -> None:
    key, made = await signing.new_key()
    request = await signing.request(key, made, payment())
    signing.clock.advance(timedelta(seconds=31))
    with pytest.raises(AuthorizationExpired):
        await signing.executor.sign(request)


async def test_sign__authorization_forged__is_refused(signing: Signing) -> None:
    key, made = await signing.new_key()
    request = await signing.request(key, made, payment())
    for forged in (b"", request.authorization[:-1], request.authorization[:-1] + b"\x00", secrets.token_bytes(200)):
        with pytest.raises(SigningRefused):
            await signing.executor.sign(dataclasses.replace(request, authorization=forged))


@pytest.mark.parametrize(
    "change",
    [{"value": 1}, {"nonce": 1}, {"chain_id": 1}, {"to": None, "gas_limit": 53_000}, {"max_fee_per_gas": 3 * 10**9}],
)
async def test_sign__another_transaction_than_authorized__is_refused(
    signing: Signing, change: dict[str, object]
) -> None:
    key, made = await signing.new_key()
    request = await signing.request(key, made, payment())
    with pytest.raises(SigningRefused, match="another payload"):
        await signing.executor.sign(dataclasses.replace(request, payload=payment(**change)))


async def test_sign__one_message_authorized_and_another_kind_asked__is_refused(signing: Signing) -> None:
    key, made = await signing.new_key()
    request = await signing.request(key, made, PersonalMessagePayload(payment().encode()))
    with pytest.raises(SigningRefused):
        await signing.executor.sign(dataclasses.replace(request, payload=payment()))


async def test_blind__authorized_for_something_else__is_refused(signing: Signing) -> None:
    key, made = await signing.new_key()
    shown = await signing.request(key, made, payment())
    with pytest.raises(SigningRefused, match="evm_transaction"):
        await signing.executor.sign(dataclasses.replace(shown, payload=BlindPayload(payment().digest())))
    blind = await signing.request(key, made, BlindPayload(payment().digest()))
    with pytest.raises(SigningRefused, match="blind"):
        await signing.executor.sign(dataclasses.replace(blind, payload=payment()))


async def test_blind__not_a_hash_nor_bytes_with_a_function__is_refused(signing: Signing) -> None:
    key, made = await signing.new_key()
    request = await signing.request(key, made, BlindPayload(b"h" * 32))
    for encoded in (b"", b"\x00" + b"h" * 31, b"\x03" + b"h" * 32):
        payload = BlindPayload(b"h" * 32)
        object.__setattr__(payload, "content", encoded)
        with pytest.raises((PayloadRefused, SigningRefused)):
            await signing.executor.sign(dataclasses.replace(request, payload=payload))


@pytest.mark.parametrize("payload", [DELEGATION, OPERATION, TYPED, payment()])
async def test_trap_13__a_message_with_the_bytes_of_something_else__stays_a_message(
    signing: Signing, payload: Payload
) -> None:
    key, made = await signing.new_key()
    as_message = PersonalMessagePayload(payload.encode())
    signature = await signing.executor.sign(await signing.request(key, made, as_message))
    assert recover_address(as_message.digest(), signature.content) == made.address
    with pytest.raises(SigningRefused):
        request = await signing.request(key, made, as_message)
        await signing.executor.sign(dataclasses.replace(request, payload=payload))


async def test_sign__authorization_of_another_wallet__is_refused(signing: Signing) -> None:
    one, made = await signing.new_key()
    other, _ = await signing.new_key(one.app_id)
    request = await signing.request(one, made, payment())
    stolen = dataclasses.replace(request, authorization=await signing.authorize(other, payment()))
    with pytest.raises(SigningRefused, match="another wallet"):
        await signing.executor.sign(stolen)


async def test_sign__auth_share_of_another_wallet__is_refused(signing: Signing) -> None:
    one, _ = await signing.new_key()
    _, other_made = await signing.new_key(one.app_id)
    with pytest.raises(SealBroken):
        await signing.executor.sign(await signing.request(one, other_made, payment()))


async def test_sign__exec_share_swapped_between_wallets__is_refused(signing: Signing, store: MemoryShareStore) -> None:
    one, made = await signing.new_key()
    other, _ = await signing.new_key(one.app_id)
    stolen = store.rows[other.wallet_id]
    for claimed in (one, dataclasses.replace(stolen.key, wallet_id=one.wallet_id)):
        store.rows[one.wallet_id] = dataclasses.replace(stolen, key=claimed)
        local = signing.executor
        assert isinstance(local, LocalExecutor)
        signing.executor = _restarted(local, store, signing)
        with pytest.raises(SealBroken):
            await signing.executor.sign(await signing.request(one, made, payment()))


async def test_sign__key_claimed_with_another_address__is_refused(signing: Signing) -> None:
    key, made = await signing.new_key()
    claimed = dataclasses.replace(key, address=RECIPIENT)
    with pytest.raises(SealBroken):
        await signing.executor.sign(await signing.request(claimed, made, payment()))


async def test_sign__auth_share_of_another_split_of_the_same_place__is_refused(signing: Signing) -> None:
    key, made = await signing.new_key()
    local = signing.executor
    assert isinstance(local, LocalExecutor)
    foreign = local._auth_shares.seal(split(secrets.token_bytes(32))[0], key)
    with pytest.raises(ShareMismatch):
        await signing.executor.sign(
            await signing.request(key, dataclasses.replace(made, auth_share=foreign), payment())
        )


async def test_sign__auth_share_edited_by_who_has_the_auth_key__is_refused(signing: Signing) -> None:
    key, made = await signing.new_key()
    local = signing.executor
    assert isinstance(local, LocalExecutor)
    share = local._auth_shares.open(made.auth_share, key)
    share.value[0] ^= 1
    edited = local._auth_shares.seal(share, key)
    with pytest.raises(ShareMismatch, match="not the key of this address"):
        await signing.executor.sign(await signing.request(key, dataclasses.replace(made, auth_share=edited), payment()))


async def test_sign__wallet_without_a_key__is_refused(signing: Signing) -> None:
    key, made = await signing.new_key()
    stranger = dataclasses.replace(key, wallet_id=WalletId(new_id()))
    local = signing.executor
    assert isinstance(local, LocalExecutor)
    share = local._auth_shares.seal(split(bytes(32))[0], stranger)
    with pytest.raises(WalletKeyMissing):
        await local.sign(await signing.request(stranger, dataclasses.replace(made, auth_share=share), payment()))


async def test_sign__by_a_restarted_signer__wants_a_new_authorization_and_goes_on(
    signing: Signing, store: MemoryShareStore
) -> None:
    key, made = await signing.new_key()
    request = await signing.request(key, made, payment())
    local = signing.executor
    assert isinstance(local, LocalExecutor)
    again = _restarted(local, store, signing)
    with pytest.raises(SignerRestarted):
        await again.sign(request)
    signing.executor = again
    signature = await again.sign(await signing.request(key, made, payment()))
    assert recover_address(payment().digest(), signature.content) == key.address


async def test_sign_many__good_and_bad_together__answers_each_in_order(signing: Signing) -> None:
    key, made = await signing.new_key()
    requests = [await signing.request(key, made, payment(nonce)) for nonce in range(5)]
    requests[2] = requests[1]
    answers = await signing.executor.sign_many(requests)
    assert [isinstance(answer, Signature) for answer in answers] == [True, True, False, True, True]
    assert isinstance(answers[2], SigningRefused)


async def test_sign__same_authorization_many_times_at_once__signs_once(signing: Signing) -> None:
    key, made = await signing.new_key()
    request = await signing.request(key, made, payment())
    answers = await asyncio.gather(*(signing.executor.sign(request) for _ in range(20)), return_exceptions=True)
    assert sum(isinstance(answer, Signature) for answer in answers) == 1
    assert all(isinstance(answer, Signature | SigningRefused) for answer in answers)


async def test_recovery__with_auth_share_and_private_key__makes_the_key_again() -> None:
    private = X25519PrivateKey.generate()
    auth_kms = LocalKms({1: secrets.token_bytes(32)}, key_id="auth")
    authorization_key = AuthorizationKey(secrets.token_bytes(32))
    core = _core(authorization_key, MemoryShareStore(), recovery=private)
    executor = LocalExecutor(core, AuthShares(auth_kms))
    side = Signing.with_system_clock(executor, authorization_key)
    key, made = await side.new_key()
    auth = open_share(auth_kms, "auth", made.auth_share, key)
    recovery = open_recovery_share(private, made.recovery_share, key)
    assert public_address(combine([auth, recovery])) == made.address


async def test_executor__one_key_for_both_shares__does_not_start() -> None:
    shared = secrets.token_bytes(32)
    core = _core(AuthorizationKey(secrets.token_bytes(32)), MemoryShareStore(), exec_key=shared)
    with pytest.raises(SameKeyForBothShares):
        LocalExecutor(core, AuthShares(LocalKms({1: shared}, key_id="auth")))


@pytest.mark.parametrize(
    "encoded",
    [
        b"{",
        b"[]",
        b'{"types":{},"types":{}}',
        b'{"message":1.5}',
        b'{"message":NaN}',
        b"\xff",
        b"[" * 100_000,
        b'{"types":{"Note":[{"name":"text","type":"string"}]},"primaryType":"Note","domain":{"name":"Notes"},"message":{"text":"\\ud800"}}',
    ],
)
async def test_sign__typed_data_that_reads_in_two_ways_or_none__is_refused(signing: Signing, encoded: bytes) -> None:
    key, made = await signing.new_key()
    request = await signing.request(key, made, TYPED)
    payload = TypedDataPayload(TYPED.document)
    object.__setattr__(payload, "_encoded", encoded)
    with pytest.raises(Unprocessable):
        await signing.executor.sign(dataclasses.replace(request, payload=payload))


def test_typed_data__numbers_that_json_cannot_carry__is_refused() -> None:
    for value in (float("nan"), object(), {1, 2}):
        with pytest.raises(PayloadRefused):
            TypedDataPayload({"message": value})


async def test_errors__of_the_signer__never_show_a_share(signing: Signing) -> None:
    key, made = await signing.new_key()
    request = await signing.request(key, made, payment())
    assert made.auth_share.hex() not in repr(request) + repr(made)
    assert repr(made.auth_share) not in repr(request) + repr(made)
    with pytest.raises(LockstepError) as refused:
        await signing.executor.sign(dataclasses.replace(request, authorization=b"x" * 64))
    assert made.auth_share.hex() not in repr(refused.value.problem())


def _core(
    authorization_key: AuthorizationKey,
    store: MemoryShareStore,
    *,
    exec_key: bytes | None = None,
    recovery: X25519PrivateKey | None = None,
) -> SigningCore:
    return SigningCore(
        signer_id="local",
        exec_keys=LocalKms({1: exec_key or secrets.token_bytes(32)}, key_id="exec"),
        authorization_key=authorization_key,
        transport_seed=secrets.token_bytes(32),
        recovery_key=(recovery or X25519PrivateKey.generate()).public_key(),
        store=store,
        clock=SystemClock(),
    )


def _restarted(local: LocalExecutor, store: MemoryShareStore, signing: Signing) -> LocalExecutor:
    """The same signer after a restart: same keys and rows, nothing in memory, another boot epoch."""
    before = local._core
    core = SigningCore(
        signer_id="local",
        exec_keys=before._exec_keys,
        authorization_key=before.authorization_key,
        transport_seed=bytes(32),
        recovery_key=before._recovery_key,
        store=store,
        clock=signing.clock,
    )
    return LocalExecutor(core, local._auth_shares)
