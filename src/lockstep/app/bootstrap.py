"""What a deployment needs before its first customer: the administrator, and the coordinator's app, wallet and policy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lockstep.chains.evm import Contract, parse_chain
from lockstep.client import AdminCredentials, AppCredentials, AsyncClient
from lockstep.custody import Seals
from lockstep.custody.access import bootstrap_admin as make_admin
from lockstep.kit.clock import SystemClock
from lockstep.kit.database import Database

_PUBLIC_DUTIES = (
    ("SourceEscrow", "publicWithdraw"),
    ("SourceEscrow", "publicCancel"),
    ("DestinationEscrow", "publicWithdraw"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CoordinatorMade:
    """What `create_coordinator` made; the secret is given out only here."""

    app_id: str
    secret: str = field(repr=False)
    wallet_id: str
    address: str
    policy_id: str


async def bootstrap_admin(database_url: str, seals: Seals) -> str | None:
    """Make the first administrator's credential; None when there is one already."""
    database = Database(database_url, name="bootstrap", min_size=1, max_size=1)
    await database.open()
    try:
        made = await make_admin(database, seals, SystemClock())
    finally:
        await database.close()
    return made.text if made else None


async def create_coordinator(url: str, admin_credential: str, factories: Mapping[str, str]) -> CoordinatorMade:
    """Make the app and wallet that perform public duties of swaps, through the API like any other caller.

    Its policy allows only the public duties, without value, on these chains: it can move nobody's tokens but to their
    rightful side, and spends nothing but gas. The wallet has no session signer: its app acts for it.

    Args:
        factories: our escrow factory by chain (CAIP-2). Escrows are clones with addresses of their own, so the policy
            names functions and chains; the factories themselves are refused.
    """
    async with AsyncClient(url, AdminCredentials(admin_credential)) as admin:
        made = await admin.create_app("Lockstep coordinator")
        app = admin.as_caller(AppCredentials(made.app.id, made.secret))
        policy = await app.create_policy(coordinator_policy(factories))
        wallet = await app.create_wallet(policy_ids=[policy.id], display_name="Public duties of swaps")
    return CoordinatorMade(
        app_id=made.app.id, secret=made.secret, wallet_id=wallet.id, address=wallet.address, policy_id=policy.id
    )


def coordinator_policy(factories: Mapping[str, str]) -> dict[str, Any]:
    """The policy document of the coordinator's wallet."""
    selectors = sorted({"0x" + Contract.load(name).selector(function).hex() for name, function in _PUBLIC_DUTIES})
    chain_ids = sorted({parse_chain(chain) for chain in factories})

    def condition(field: str, operator: str, value: str | list[str]) -> dict[str, Any]:
        return {"field_source": "ethereum_transaction", "field": field, "operator": operator, "value": value}

    return {
        "version": "1.0",
        "name": "Public duties of swaps",
        "chain_type": "ethereum",
        "rules": [
            {
                "id": "public-duties",
                "name": "Withdraw and cancel for others",
                "method": "eth_sendTransaction",
                "action": "ALLOW",
                "conditions": [
                    condition("chain_id", "in", [str(chain_id) for chain_id in chain_ids]),
                    condition("value", "eq", "0"),
                    condition("function_selector", "in", selectors),
                    condition("to", "not_in", sorted(set(factories.values()))),
                ],
            }
        ],
    }
