"""Execution authorizations: the policy side says yes to one signature, the signer takes that yes once.

An authorization is bound to one operation on one key over one digest, to one signer and its boot epoch, and expires
within a minute. So it is single-use without a database: the running signer remembers the nonces it has seen until they
expire, and a restarted signer has another boot epoch. Both sides share one key (HMAC-SHA256).

The bytes, all fields in this order and every length in front of its field, then 32 bytes of HMAC over everything:
u8 version (1), text signer id, 16-byte boot epoch, u8 operation, text app id, text wallet id, 20-byte address,
32-byte digest, text policy revision, text decision id, u64 expiry in Unix milliseconds, 16-byte nonce.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections import deque
from dataclasses import dataclass
from datetime import timedelta

from lockstep.chains.evm import ZERO_ADDRESS, Hash32, address_from_bytes, address_to_bytes
from lockstep.custody.execution.errors import (
    AuthorizationExpired,
    ProtocolViolation,
    SignerBusy,
    SignerRestarted,
    SigningRefused,
)
from lockstep.custody.execution.kms import KEY_BYTES, derive_key
from lockstep.custody.execution.types import GENERATIONS, Curve, Op, SignerIdentity, WalletKey
from lockstep.custody.execution.wire import Reader, Writer
from lockstep.kit.clock import Clock, epoch_ms
from lockstep.kit.ids import AppId, WalletId

VERSION = 1
MAX_LIFETIME_MS = 60_000
DEFAULT_LIFETIME = timedelta(seconds=30)
EPOCH_BYTES = NONCE_BYTES = 16
_PREFIX = b"lockstep:execution-authorization:v1\n"
_MAC_BYTES = 32
OPS: dict[Op, int] = {
    "generate_key": 1,
    "evm_transaction": 2,
    "typed_data": 3,
    "personal_message": 4,
    "evm_authorization": 5,
    "blind": 6,
    "user_operation": 7,
    "generate_ed25519_key": 8,
    "cardano_transaction": 9,
    "cardano_message": 10,
}
_OPS_BY_NUMBER = {number: op for op, number in OPS.items()}


class AuthorizationKey:
    """The key that policy side and signer share; says yes, and proves both ends of the socket to each other."""

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError(f"expected a key of {KEY_BYTES} bytes, was {len(key)}")
        self._authorize = derive_key(key, "execution-authorization:v1")
        self._channel = derive_key(key, "signer-channel:v1")

    def mac(self, body: bytes) -> bytes:
        """HMAC over the fields of an authorization."""
        return hmac.digest(self._authorize, _PREFIX + body, "sha256")

    def prove(self, side: str, transcript: bytes) -> bytes:
        """What only a holder of the key can say about a connection; `side` keeps one end from echoing the other."""
        return hmac.digest(self._channel, f"lockstep:signer-channel:v1\n{side}\n".encode() + transcript, "sha256")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionAuthorization:
    """The fields of one authorization."""

    signer: SignerIdentity
    op: Op
    key: WalletKey
    payload_digest: Hash32
    policy_revision: str
    decision_id: str
    expires_at_ms: int
    nonce: bytes

    def encode(self, key: AuthorizationKey) -> bytes:
        """The bytes with their MAC.

        Raises:
            ValueError: a field that is too long.
        """
        body = (
            Writer()
            .number(VERSION, 1)
            .text(self.signer.signer_id)
            .fixed(self.signer.boot_epoch, EPOCH_BYTES)
            .number(OPS[self.op], 1)
            .text(self.key.app_id)
            .text(self.key.wallet_id)
            .fixed(address_to_bytes(self.key.address), 20)
            .fixed(self.payload_digest, 32)
            .text(self.policy_revision)
            .text(self.decision_id)
            .number(self.expires_at_ms, 8)
            .fixed(self.nonce, NONCE_BYTES)
            .done()
        )
        return body + key.mac(body)


def decode_authorization(content: bytes, key: AuthorizationKey) -> ExecutionAuthorization:
    """Read an authorization whose MAC is right; nothing is looked at before the MAC.

    Raises:
        SigningRefused: forged, cut off, or of another version.
    """
    body, mac = content[:-_MAC_BYTES], content[-_MAC_BYTES:]
    if not hmac.compare_digest(key.mac(body), mac):
        raise SigningRefused("the authorization is forged or was edited")
    reader = Reader(body)
    try:
        version = reader.number(1)
        if version != VERSION:
            raise SigningRefused(f"expected an authorization of version {VERSION}, was {version}")
        authorization = ExecutionAuthorization(
            signer=SignerIdentity(reader.text(), reader.fixed(EPOCH_BYTES)),
            op=_OPS_BY_NUMBER[reader.number(1)],
            key=WalletKey(
                app_id=AppId(reader.text()),
                wallet_id=WalletId(reader.text()),
                address=address_from_bytes(reader.fixed(20)),
            ),
            payload_digest=reader.fixed(32),
            policy_revision=reader.text(),
            decision_id=reader.text(),
            expires_at_ms=reader.number(8),
            nonce=reader.fixed(NONCE_BYTES),
        )
        reader.end()
    except (ProtocolViolation, KeyError) as error:
        raise SigningRefused("the authorization does not hold") from error
    return authorization


def generation_digest(app_id: AppId, wallet_id: WalletId) -> Hash32:
    """What an authorization to make a key stands for, where there is no payload yet."""
    content = Writer().text(app_id).text(wallet_id).done()
    return hashlib.sha256(b"lockstep:generate-key:v1\n" + content).digest()


class AuthorizationIssuer:
    """The policy side: turns a recorded decision into an authorization."""

    def __init__(self, key: AuthorizationKey, clock: Clock) -> None:
        self._key = key
        self._clock = clock

    def issue(
        self,
        signer: SignerIdentity,
        *,
        op: Op,
        key: WalletKey,
        payload_digest: Hash32,
        policy_revision: str,
        decision_id: str,
        lifetime: timedelta = DEFAULT_LIFETIME,
    ) -> bytes:
        """Authorize one signature.

        Args:
            policy_revision: revision of the policies that said yes, for the record.
            decision_id: the recorded decision.
            lifetime: at most 60 s.

        Raises:
            ValueError: a longer lifetime, a text above 255 bytes, or a digest that has not 32 bytes.
        """
        lifetime_ms = lifetime // timedelta(milliseconds=1)
        if not 0 < lifetime_ms <= MAX_LIFETIME_MS:
            raise ValueError(f"an authorization lives at most {MAX_LIFETIME_MS} ms, was {lifetime_ms}")
        return ExecutionAuthorization(
            signer=signer,
            op=op,
            key=key,
            payload_digest=payload_digest,
            policy_revision=policy_revision,
            decision_id=decision_id,
            expires_at_ms=epoch_ms(self._clock.now()) + lifetime_ms,
            nonce=secrets.token_bytes(NONCE_BYTES),
        ).encode(self._key)

    def issue_generation(
        self,
        signer: SignerIdentity,
        app_id: AppId,
        wallet_id: WalletId,
        decision_id: str,
        curve: Curve = "secp256k1",
    ) -> bytes:
        """Authorize the making of one wallet's key; the curve stands in the authorization alone."""
        return self.issue(
            signer,
            op=GENERATIONS[curve],
            key=WalletKey(app_id=app_id, wallet_id=wallet_id, address=ZERO_ADDRESS),
            payload_digest=generation_digest(app_id, wallet_id),
            policy_revision="",
            decision_id=decision_id,
        )


class AuthorizationVerifier:
    """The signer's side: takes an authorization once, or says why not."""

    def __init__(
        self, key: AuthorizationKey, signer: SignerIdentity, clock: Clock, *, max_remembered: int = 1_000_000
    ) -> None:
        self._key = key
        self._signer = signer
        self._clock = clock
        self._max_remembered = max_remembered
        self._seen: set[bytes] = set()
        self._in_order: deque[tuple[int, bytes]] = deque()
        self._latest_ms = 0

    def consume(self, content: bytes, *, op: Op, key: WalletKey, payload_digest: Hash32) -> ExecutionAuthorization:
        """Check an authorization against what is about to be done, and use it up.

        Raises:
            SigningRefused: forged, used before, for something else, or valid for longer than a minute.
            SignerRestarted: for another signer or another boot of it.
            AuthorizationExpired: too old.
            SignerBusy: more authorizations are remembered than there is room for.
        """
        authorization = decode_authorization(content, self._key)
        if authorization.signer != self._signer:
            raise SignerRestarted
        if authorization.op != op:
            raise SigningRefused(f"the authorization is for {authorization.op}, not for {op}")
        if authorization.key != key:
            raise SigningRefused("the authorization is for another wallet")
        if not hmac.compare_digest(authorization.payload_digest, payload_digest):
            raise SigningRefused("the authorization is for another payload")
        now = self._now()
        if now >= authorization.expires_at_ms:
            raise AuthorizationExpired
        if authorization.expires_at_ms - now > MAX_LIFETIME_MS:
            raise SigningRefused(f"the authorization is valid for longer than {MAX_LIFETIME_MS} ms")
        if authorization.nonce in self._seen:
            raise SigningRefused("the authorization was used before")
        if len(self._seen) >= self._max_remembered:
            raise SignerBusy
        self._seen.add(authorization.nonce)
        # Kept for the longest life that there is, so that the order of arrival is the order of leaving.
        self._in_order.append((now + MAX_LIFETIME_MS, authorization.nonce))
        return authorization

    def _now(self) -> int:
        """Time that never goes back, so that a clock set back cannot make a forgotten authorization valid again."""
        self._latest_ms = max(self._latest_ms, epoch_ms(self._clock.now()))
        while self._in_order and self._in_order[0][0] <= self._latest_ms:
            self._seen.discard(self._in_order.popleft()[1])
        return self._latest_ms
