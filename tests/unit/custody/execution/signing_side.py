"""The policy side in a test: an executor, the issuer that it listens to, and how requests are made of both."""

from __future__ import annotations

import dataclasses
from typing import Any

from lockstep.chains.evm import Address, UnsignedTransaction
from lockstep.custody.execution import (
    AuthorizationIssuer,
    AuthorizationKey,
    Executor,
    NewKey,
    Payload,
    SigningRequest,
    TransactionPayload,
    WalletKey,
)
from lockstep.kit.clock import ManualClock, SystemClock
from lockstep.kit.ids import AppId, WalletId, new_id

RECIPIENT = Address("0x" + "35" * 20)


def payment(nonce: int = 0, **changes: Any) -> TransactionPayload:
    """A plain payment of one ether."""
    transaction = UnsignedTransaction(
        chain_id=31337,
        nonce=nonce,
        to=RECIPIENT,
        value=10**18,
        data=b"",
        gas_limit=21_000,
        max_fee_per_gas=2 * 10**9,
        max_priority_fee_per_gas=10**9,
    )
    return TransactionPayload(dataclasses.replace(transaction, **changes))


@dataclasses.dataclass
class Signing:
    """An executor, the policy side's issuer, and what both need to make requests."""

    executor: Executor
    issuer: AuthorizationIssuer
    clock: ManualClock

    @classmethod
    def with_system_clock(cls, executor: Executor, key: AuthorizationKey) -> Signing:
        """For executors whose clock is the host's."""
        return cls(executor, AuthorizationIssuer(key, SystemClock()), ManualClock(SystemClock().now()))

    async def new_key(self, app_id: str | None = None) -> tuple[WalletKey, NewKey]:
        app, wallet = AppId(app_id or new_id()), WalletId(new_id())
        grant = self.issuer.issue_generation(await self.executor.identity(), app, wallet, "decision")
        made = await self.executor.generate_key(app, wallet, grant)
        return WalletKey(app_id=app, wallet_id=wallet, address=made.address), made

    async def authorize(self, key: WalletKey, payload: Payload) -> bytes:
        return self.issuer.issue(
            await self.executor.identity(),
            op=payload.op,
            key=key,
            payload_digest=payload.digest(),
            policy_revision="7",
            decision_id="decision",
        )

    async def request(self, key: WalletKey, made: NewKey, payload: Payload) -> SigningRequest:
        return SigningRequest(
            key=key,
            payload=payload,
            auth_share=made.auth_share,
            authorization=await self.authorize(key, payload),
        )
