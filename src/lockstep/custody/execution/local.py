"""An executor in this process, for tests: the same core and the same checks, without a socket and a second process.

Both shares are in one memory here, so it protects nothing; production settings never build it.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping, Sequence

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from lockstep.custody.execution.authorization import AuthorizationIssuer, AuthorizationKey
from lockstep.custody.execution.client import new_key, sign_call
from lockstep.custody.execution.core import SigningCore
from lockstep.custody.execution.kms import KEY_BYTES, LocalKms
from lockstep.custody.execution.shares import AuthShares
from lockstep.custody.execution.store import ExecShareStore, MemoryShareStore
from lockstep.custody.execution.types import (
    NewKey,
    Signature,
    SignerIdentity,
    SigningRequest,
    TransportPurpose,
)
from lockstep.kit.clock import Clock
from lockstep.kit.errors import LockstepError
from lockstep.kit.ids import AppId, WalletId


class LocalExecutor:
    """An `Executor` without a process of its own."""

    def __init__(self, core: SigningCore, auth_shares: AuthShares) -> None:
        """
        Raises:
            SameKeyForBothShares: both sides were given the same key.
        """
        auth_shares.refuse_exec_key(core.exec_fingerprint)
        self._core = core
        self._auth_shares = auth_shares

    @classmethod
    def ephemeral(
        cls, clock: Clock, *, store: ExecShareStore | None = None
    ) -> tuple[LocalExecutor, AuthorizationIssuer]:
        """An executor with fresh keys that nobody keeps, and the issuer whose authorizations it takes."""
        authorization_key = AuthorizationKey(secrets.token_bytes(KEY_BYTES))
        core = SigningCore(
            signer_id="local",
            exec_keys=LocalKms({1: secrets.token_bytes(KEY_BYTES)}, key_id="exec"),
            authorization_key=authorization_key,
            transport_seed=secrets.token_bytes(KEY_BYTES),
            recovery_key=X25519PrivateKey.generate().public_key(),
            store=store or MemoryShareStore(),
            clock=clock,
        )
        auth_shares = AuthShares(LocalKms({1: secrets.token_bytes(KEY_BYTES)}, key_id="auth"))
        return cls(core, auth_shares), AuthorizationIssuer(authorization_key, clock)

    async def identity(self) -> SignerIdentity:
        """See `Executor`."""
        return self._core.identity

    async def generate_key(self, app_id: AppId, wallet_id: WalletId, authorization: bytes) -> NewKey:
        """See `Executor`."""
        generated = await self._core.generate_key(app_id, wallet_id, authorization)
        return new_key(self._auth_shares, app_id, wallet_id, generated)

    async def generate_keys(
        self, app_id: AppId, wanted: Sequence[tuple[WalletId, bytes]]
    ) -> list[NewKey | LockstepError]:
        """See `Executor`."""
        answers: list[NewKey | LockstepError] = []
        for wallet_id, authorization in wanted:
            try:
                answers.append(await self.generate_key(app_id, wallet_id, authorization))
            except LockstepError as error:
                answers.append(error)
        return answers

    async def sign(self, request: SigningRequest) -> Signature:
        """See `Executor`."""
        return Signature(await self._core.sign(sign_call(self._auth_shares, request)))

    async def sign_many(self, requests: Sequence[SigningRequest]) -> list[Signature | LockstepError]:
        """See `Executor`."""
        answers: list[Signature | LockstepError] = []
        for request in requests:
            try:
                answers.append(await self.sign(request))
            except LockstepError as error:
                answers.append(error)
            await asyncio.sleep(0)  # others get their turn within a long batch
        return answers

    async def sign_transport(self, purpose: TransportPurpose, payload: bytes) -> bytes:
        """See `Executor`."""
        return self._core.sign_transport(purpose, payload)

    async def transport_public_key(self, purpose: TransportPurpose) -> bytes:
        """See `Executor`."""
        return self._core.transport.public_key(purpose)

    async def health(self) -> Mapping[str, str | int]:
        """See `Executor`."""
        return self._core.health()

    async def close(self) -> None:
        """See `Executor`."""
        await self._core.close()
