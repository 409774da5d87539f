"""What a change of something that is owned asks first: that the owner authorises it, with a request that is not used up."""

from __future__ import annotations

from lockstep.custody.access.store import list_unknown_users
from lockstep.custody.authority import store
from lockstep.custody.authority.errors import OwnerInvalid, OwnerNotFound, RequestReplayed
from lockstep.custody.authority.proofs import RequestProof
from lockstep.custody.authority.rules import authorise, insufficient, is_satisfiable
from lockstep.custody.authority.types import NewOwner, Owner, OwnerColumns
from lockstep.custody.errors import UserNotFound
from lockstep.custody.types import Principal
from lockstep.kit.database import UnitOfWork
from lockstep.kit.ids import AppId


async def require_owner(uow: UnitOfWork, principal: Principal, owner: Owner) -> tuple[str, ...]:
    """Refuse what the owner has not authorised; returns the identities of those who did.

    Raises:
        AuthorizationInsufficient: signatures are missing or not enough.
        RequestReplayed: the very same signed request was carried out before.
    """
    authorisation = authorise(owner, principal.proof, principal.user_id)
    if not authorisation.is_enough:
        raise insufficient(owner, authorisation)
    await use_up(uow, principal)
    return authorisation.by


async def use_up(uow: UnitOfWork, principal: Principal) -> None:
    """Note, with the work itself, that a signed request is carried out; what an idempotency key makes one needs no note.

    Raises:
        RequestReplayed: an earlier arrival of it was carried out.
    """
    proof = principal.proof
    if isinstance(proof, RequestProof) and not await store.use_request(uow, principal.tenant, proof):
        raise RequestReplayed


async def resolve_owner(uow: UnitOfWork, app_id: AppId, new: NewOwner) -> OwnerColumns:
    """To whom something may be given.

    Raises:
        UserNotFound, OwnerNotFound: the app has none with this id.
        OwnerInvalid: a user and a key or quorum, or one that could never authorise anything.
    """
    if new.user_id is not None and new.owner_id is not None:
        raise OwnerInvalid("expected owner_user_id or owner_id, was both")
    if new.user_id is not None and await list_unknown_users(uow, app_id, [new.user_id]):
        raise UserNotFound
    if new.owner_id is None:
        return OwnerColumns(user_id=new.user_id)
    owner = await store.find_owner(uow, app_id, new.owner_id)
    if owner is None:
        raise OwnerNotFound
    if not is_satisfiable(owner):
        raise OwnerInvalid("too few of its keys are active: it could never authorise anything")
    if owner.kind == "authorization_key":
        return OwnerColumns(key_id=owner.id)
    return OwnerColumns(quorum_id=owner.id)
