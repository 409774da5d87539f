"""Which requests can be approved, how they are read, and how they are carried out as if they had been made directly."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from pydantic import BaseModel, ValidationError

from lockstep.custody.approvals.errors import ApprovalInvalid
from lockstep.custody.approvals.types import Kind, Operation
from lockstep.custody.authority import schemas as authority_schemas
from lockstep.custody.authority.schemas import quorum_out
from lockstep.custody.authority.service import AuthorityService
from lockstep.custody.policy import parse_policy
from lockstep.custody.schemas import OwnedPolicyIn, WalletPatch
from lockstep.custody.service import CustodyService
from lockstep.custody.types import Principal
from lockstep.custody.view import parse_rpc
from lockstep.custody.views import describe_policy, describe_wallet
from lockstep.custody.wallets import WalletChange
from lockstep.kit.database import UnitOfWork
from lockstep.kit.errors import Refuse

_ID: Final = r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})"
_ROUTES: Final[tuple[tuple[str, re.Pattern[str], Kind], ...]] = (
    ("POST", re.compile(f"/v1/wallets/{_ID}/rpc"), "wallet_rpc"),
    ("PATCH", re.compile(f"/v1/wallets/{_ID}"), "wallet_change"),
    ("PATCH", re.compile(f"/v1/policies/{_ID}"), "policy_change"),
    ("PATCH", re.compile(f"/v1/key-quorums/{_ID}"), "quorum_change"),
)


def _check_policy(body: Mapping[str, Any]) -> None:
    parse_policy(OwnedPolicyIn.model_validate(body).document())


_CHECKS: Final[Mapping[Kind, Callable[[dict[str, Any]], object]]] = {
    "wallet_rpc": parse_rpc,
    "wallet_change": WalletPatch.model_validate,
    "policy_change": _check_policy,
    "quorum_change": authority_schemas.KeyQuorumPatch.model_validate,
}


def read_operation(method: str, path: str, body: Mapping[str, Any]) -> Operation:
    """The request that is to be approved.

    Raises:
        ApprovalInvalid: another route, or a body that it would refuse.
    """
    for known_method, pattern, kind in _ROUTES:
        found = pattern.fullmatch(path)
        if found is None or method != known_method:
            continue
        try:
            _CHECKS[kind](dict(body))
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            at = ".".join(str(part) for part in first["loc"])
            raise ApprovalInvalid(f"body.{at}: {first['msg']}") from error
        except Refuse as error:
            raise ApprovalInvalid(error.detail, reason_code=error.code) from error
        return Operation(kind=kind, resource_id=found.group(1), method=method, path=path, body=body)
    raise ApprovalInvalid("expected POST of a wallet's rpc, or PATCH of a wallet, a policy or a key quorum")


async def change(
    custody: CustodyService, authority: AuthorityService, uow: UnitOfWork, principal: Principal, operation: Operation
) -> dict[str, Any]:
    """Carry a change out in the caller's transaction; returns the answer that the route would give."""
    body: BaseModel
    if operation.kind == "wallet_change":
        body = WalletPatch.model_validate(operation.body)
        wanted = WalletChange(
            policy_ids=body.policy_ids, display_name=body.display_name, status=body.status, owner=body.new_owner()
        )
        return describe_wallet(await custody.change_wallet(uow, principal, operation.resource_id, wanted))
    if operation.kind == "policy_change":
        body = OwnedPolicyIn.model_validate(operation.body)
        policy = await custody.change_policy(uow, principal, operation.resource_id, body.document(), body.new_owner())
        return describe_policy(policy)
    body = authority_schemas.KeyQuorumPatch.model_validate(operation.body)
    quorum = await authority.change_quorum(uow, principal, operation.resource_id, body.terms())
    return quorum_out(quorum).model_dump()
