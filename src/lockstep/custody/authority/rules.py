"""Whether an owner has authorised. Pure.

What counts are distinct holders: each public key and each user is counted once in the whole tree, whatever ids it goes
by and however many signatures it made. Direct members are counted before the quorums among the members.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from lockstep.custody.authority.errors import AuthorizationInsufficient, QuorumInvalid
from lockstep.custody.authority.types import Authorisation, Owner, OwnerKey, Proof

MAX_MEMBERS: Final = 20
"""Members of one quorum."""
MAX_HOLDERS: Final = 50
"""Keys and users of a quorum together with those of the quorums in it."""

Holder = tuple[str, bytes | str]
"""("key", public key) or ("user", id): what is counted once."""


def authorise(owner: Owner, proof: Proof | None, user_id: str | None = None) -> Authorisation:
    """Whether an owner, as it is now, has authorised.

    Args:
        proof: what the caller shows; None: nothing.
        user_id: the user that calls; None: another kind of caller.
    """
    counted: dict[Holder, str] = {}
    given = _count(owner, proof, user_id, counted)
    for quorum in owner.quorums:
        inner = dict(counted)
        if _count(quorum, proof, user_id, inner) >= quorum.threshold:
            counted, given = inner, given + 1
    return Authorisation(
        is_enough=given >= owner.threshold, needed=owner.threshold, given=given, by=tuple(sorted(counted.values()))
    )


def _count(quorum: Owner, proof: Proof | None, user_id: str | None, counted: dict[Holder, str]) -> int:
    """Count the direct members that authorised and were not counted yet, and note them."""
    before = len(counted)
    for key in quorum.keys:
        holder: Holder = ("key", key.public_key)
        if holder not in counted and key.is_active and proof is not None and proof.covers(key):
            counted[holder] = key.identity
    for member in quorum.user_ids:
        if member in quorum.disabled:
            continue
        if ("user", member) not in counted and (member == user_id or (proof is not None and proof.covers_user(member))):
            counted[("user", member)] = f"user:{member}"
    return len(counted) - before


def insufficient(owner: Owner, authorisation: Authorisation) -> AuthorizationInsufficient:
    """The refusal of an owner that has not authorised."""
    return AuthorizationInsufficient(
        f"expected {authorisation.needed} of the members of the owner to authorise this, was {authorisation.given}",
        owner_id=owner.id,
        needed=authorisation.needed,
        given=authorisation.given,
    )


def owner_of_one(key: OwnerKey) -> Owner:
    """A single key as an owner."""
    return Owner(id=key.id, kind="authorization_key", threshold=1, keys=(key,))


def is_satisfiable(owner: Owner, without_key: str | None = None) -> bool:
    """Whether an owner could authorise anything at all, if every active member did."""
    return (
        _able(owner, without_key) + sum(_able(quorum, without_key) >= quorum.threshold for quorum in owner.quorums)
        >= owner.threshold
    )


def _able(quorum: Owner, without_key: str | None) -> int:
    keys = {key.public_key for key in quorum.keys if key.is_active and key.id != without_key}
    return len(keys) + len(set(quorum.user_ids) - quorum.disabled)


def check_quorum(owner: Owner) -> None:
    """Refuse a quorum that does not say what it seems to.

    Raises:
        QuorumInvalid: too few or too many members, a threshold that cannot be met, a holder who would stand in it twice,
            or a quorum in a quorum in it.
    """
    members = len(owner.keys) + len(owner.user_ids) + len(owner.quorums)
    if not 1 <= members <= MAX_MEMBERS:
        raise QuorumInvalid(f"expected 1 to {MAX_MEMBERS} members, was {members}")
    if not 1 <= owner.threshold <= members:
        raise QuorumInvalid(f"expected a threshold of 1 to {members}, the number of members, was {owner.threshold}")
    if any(quorum.quorums for quorum in owner.quorums):
        raise QuorumInvalid("a quorum in a quorum has keys and users only")
    _check_once("key", [key.public_key for key in owner.all_keys()])
    _check_once("user", list(owner.all_users()))
    holders = sum(1 for _ in owner.all_keys()) + sum(1 for _ in owner.all_users())
    if holders > MAX_HOLDERS:
        raise QuorumInvalid(f"expected at most {MAX_HOLDERS} keys and users in all, was {holders}")
    revoked = [key.id for key in owner.all_keys() if not key.is_active]
    if revoked:
        raise QuorumInvalid(f"expected active keys, was one that is revoked: {revoked[0]}")


def _check_once(kind: str, holders: Sequence[bytes | str]) -> None:
    if len(set(holders)) != len(holders):
        raise QuorumInvalid(f"the same {kind} stands in the quorum twice")
