"""What the signer does, whoever asks: makes keys, and signs what is authorized. Shared by the process and by tests.

Order of a signature: find the sealed exec share, recompute the digest from the payload, use up the authorization, open
the share, combine, sign, recover the address from the signature (or verify it under the fingerprint's key), wipe. Whatever fails, nothing is released.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

from lockstep.chains.evm import ZERO_ADDRESS, Address
from lockstep.custody.execution import ed25519, keys, shamir
from lockstep.custody.execution.authorization import (
    EPOCH_BYTES,
    AuthorizationKey,
    AuthorizationVerifier,
    decode_authorization,
    generation_digest,
)
from lockstep.custody.execution.errors import PayloadRefused, ShareMismatch
from lockstep.custody.execution.fingerprints import fingerprint
from lockstep.custody.execution.kms import Provider
from lockstep.custody.execution.recovery import seal_recovery_share
from lockstep.custody.execution.shamir import Share, SharesRefused, wipe
from lockstep.custody.execution.shares import THRESHOLD, TOTAL, open_share, seal_share
from lockstep.custody.execution.store import ExecShareRow, ExecShareStore, ShareCache, check_belongs
from lockstep.custody.execution.transport import TransportKeys
from lockstep.custody.execution.types import (
    ED25519_OPS,
    GENERATIONS,
    Op,
    SignerIdentity,
    TransportPurpose,
    WalletKey,
    digest_of,
    signed_content,
)
from lockstep.kit.clock import Clock
from lockstep.kit.errors import LockstepError
from lockstep.kit.ids import AppId, WalletId


@dataclass(frozen=True, slots=True, kw_only=True)
class SignCall:
    """A request to sign as the signer sees it: encoded payload and opened auth share."""

    op: Op
    key: WalletKey
    payload: bytes
    auth_share: Share
    authorization: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratedKey:
    """A new key as the signer hands it out; the auth share is for the caller to seal."""

    address: Address
    public_key: bytes
    auth_share: Share
    recovery_share: bytes = field(repr=False)


class SigningCore:
    """The signer's keys and counters. One per process; its boot epoch is new with every start."""

    def __init__(
        self,
        *,
        signer_id: str,
        exec_keys: Provider,
        authorization_key: AuthorizationKey,
        transport_seed: bytes,
        recovery_key: X25519PublicKey,
        store: ExecShareStore,
        clock: Clock,
        cached_shares: int = 100_000,
    ) -> None:
        keys.assert_backend()
        self.identity = SignerIdentity(signer_id, secrets.token_bytes(EPOCH_BYTES))
        self.exec_fingerprint = exec_keys.fingerprint
        self.authorization_key = authorization_key
        self.transport = TransportKeys(transport_seed)
        self._exec_keys = exec_keys
        self._recovery_key = recovery_key
        self._verifier = AuthorizationVerifier(authorization_key, self.identity, clock)
        self._shares = ShareCache(store, cached_shares)
        self._counts = {"keys_generated": 0, "signatures": 0, "transport_signatures": 0, "refusals": 0}

    async def generate_key(self, app_id: AppId, wallet_id: WalletId, authorization: bytes) -> GeneratedKey:
        """Make a key, store its sealed exec share, and return what the other sides keep.

        The whole key exists in this call only. Raises: see errors.py.
        """
        wanted = WalletKey(app_id=app_id, wallet_id=wallet_id, address=ZERO_ADDRESS)
        on_ed25519 = self._asks_for_ed25519(authorization)
        op = GENERATIONS["ed25519" if on_ed25519 else "secp256k1"]
        self._consume(authorization, op, wanted, generation_digest(app_id, wallet_id))
        scalar = ed25519.generate_seed() if on_ed25519 else keys.generate_scalar()
        try:
            public_key = ed25519.public_key(scalar) if on_ed25519 else keys.public_key(scalar)
            address = fingerprint(public_key) if on_ed25519 else keys.public_address(scalar)
            key = WalletKey(app_id=app_id, wallet_id=wallet_id, address=address)
            auth, executing, recovery = shamir.split(scalar, threshold=THRESHOLD, total=TOTAL)
            _check_split(scalar, (auth, executing, recovery))
        finally:
            wipe(scalar)
        sealed = seal_share(self._exec_keys, "exec", executing, key)
        recovery_share = seal_recovery_share(self._recovery_key, recovery, key)
        executing.wipe()
        recovery.wipe()
        await self._shares.add(ExecShareRow(key=key, sealed=sealed))
        self._counts["keys_generated"] += 1
        return GeneratedKey(address=key.address, public_key=public_key, auth_share=auth, recovery_share=recovery_share)

    def sign_at_once(self, call: SignCall) -> bytes | None:
        """Sign when the exec share is in memory; None when it must be read first. Raises: see errors.py."""
        row = self._shares.find(call.key.wallet_id)
        return None if row is None else self._sign(call, row)

    async def prepare(self, wallet_id: WalletId) -> None:
        """Read the sealed exec share of a wallet into memory. Raises: see errors.py."""
        await self._shares.get(wallet_id)

    async def sign(self, call: SignCall) -> bytes:
        """r‖s‖v over the digest of the payload, or R‖S of an Ed25519 key. Raises: see errors.py."""
        return self._sign(call, await self._shares.get(call.key.wallet_id))

    def sign_transport(self, purpose: TransportPurpose, payload: bytes) -> bytes:
        """See `TransportKeys.sign`."""
        signature = self.transport.sign(purpose, payload)
        self._counts["transport_signatures"] += 1
        return signature

    def health(self) -> dict[str, str | int]:
        """Who this is and what it has counted since it started."""
        return {
            "signer_id": self.identity.signer_id,
            "boot_epoch": self.identity.boot_epoch.hex(),
            "cached_shares": len(self._shares),
            **self._counts,
        }

    async def close(self) -> None:
        await self._shares.close()

    def _sign(self, call: SignCall, row: ExecShareRow) -> bytes:
        check_belongs(row, call.key)
        try:
            digest = digest_of(call.op, call.payload)
        except ValueError as error:
            raise PayloadRefused(f"the payload cannot be read: {error}") from error
        self._consume(call.authorization, call.op, call.key, digest)
        share = open_share(self._exec_keys, "exec", row.sealed, call.key)
        scalar: bytearray | None = None
        try:
            scalar = shamir.combine((call.auth_share, share))
            if call.op in ED25519_OPS:
                signature = ed25519.sign(scalar, signed_content(call.op, call.payload), call.key.address)
            else:
                signature = keys.sign_digest(scalar, digest, call.key.address)
        except SharesRefused as error:
            raise ShareMismatch(f"the shares do not belong together: {error}") from error
        finally:
            share.wipe()
            call.auth_share.wipe()
            if scalar is not None:
                wipe(scalar)
        self._counts["signatures"] += 1
        return signature

    def _asks_for_ed25519(self, authorization: bytes) -> bool:
        try:
            return decode_authorization(authorization, self.authorization_key).op == GENERATIONS["ed25519"]
        except LockstepError:
            self._counts["refusals"] += 1
            raise

    def _consume(self, authorization: bytes, op: Op, key: WalletKey, digest: bytes) -> None:
        try:
            self._verifier.consume(authorization, op=op, key=key, payload_digest=digest)
        except LockstepError:
            self._counts["refusals"] += 1
            raise


def _check_split(scalar: bytearray, shares: tuple[Share, ...]) -> None:
    """Every pair must make the key again before anybody relies on it."""
    for left_out in range(len(shares)):
        pair = [share for number, share in enumerate(shares) if number != left_out]
        again = shamir.combine(pair)
        fits = again == scalar
        wipe(again)
        if not fits:
            raise ShareMismatch("a fresh split does not make its key again")
