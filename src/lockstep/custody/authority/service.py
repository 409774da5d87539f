"""Authorization keys and quorums: made by the app, changed by those who stand in them.

A key is rotated by its holder, with the old and the new key together. It is revoked by its holder, by a quorum that has
it, or by the app while nothing rests on it. A quorum has no owner: as it was, it authorises what it becomes. Nothing is
done by which an owner could never authorise anything again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from lockstep.custody.audit import AuditEvent, AuditLog
from lockstep.custody.authority import store
from lockstep.custody.authority.errors import (
    AuthorizationInsufficient,
    AuthorizationKeyNotFound,
    KeyNeeded,
    KeyQuorumNotFound,
    PublicKeyTaken,
    QuorumInUse,
    QuorumInvalid,
)
from lockstep.custody.authority.guard import require_owner, use_up
from lockstep.custody.authority.p256 import parse_public_key
from lockstep.custody.authority.rules import authorise, check_quorum, is_satisfiable
from lockstep.custody.authority.sealing import key_content, owner_rows, quorum_content
from lockstep.custody.authority.types import AuthorizationKeyRow, KeyQuorum, Owner, OwnerKey
from lockstep.custody.base import after_of, require_app_or_user
from lockstep.custody.errors import CallerNotAllowed
from lockstep.custody.seals import Kind, Seals
from lockstep.custody.types import Principal
from lockstep.kit.clock import Clock
from lockstep.kit.database import Database, UnitOfWork
from lockstep.kit.ids import AppId, new_id
from lockstep.kit.paging import Page, page_of
from lockstep.kit.telemetry import current_correlation_id


@dataclass(frozen=True, slots=True, kw_only=True)
class QuorumTerms:
    """Who stands in a quorum, and how many of them it takes. None: as it is."""

    threshold: int | None = None
    key_ids: Sequence[str] | None = None
    user_ids: Sequence[str] | None = None
    quorum_ids: Sequence[str] | None = None
    display_name: str | None = None


class AuthorityService:
    """Keys and quorums of apps."""

    def __init__(self, database: Database, audit: AuditLog, seals: Seals, clock: Clock) -> None:
        self._database, self._audit, self._seals, self._clock = database, audit, seals, clock

    # --- keys ---------------------------------------------------------------------------------------------------------

    async def create_key(
        self, principal: Principal, public_key: str, display_name: str | None = None
    ) -> AuthorizationKeyRow:
        """Register a public key. It authorises nothing until something is given to it.

        Raises:
            CallerNotAllowed: not the app.
            PublicKeyInvalid: see `parse_public_key`. PublicKeyTaken: the app has, or had, it under some id.
        """
        app_id, now = _require_app(principal), self._clock.now()
        key = AuthorizationKeyRow(
            id=new_id(),
            app_id=app_id,
            public_key=parse_public_key(public_key),
            display_name=display_name,
            status="active",
            revision=1,
            created_at=now,
            rotated_at=None,
            revoked_at=None,
        )
        async with self._database.tenant(app_id) as uow:
            await store.insert_key(uow, key)
            if not await store.insert_point(uow, key, now):
                raise PublicKeyTaken
            await self._seals.add(uow, app_id, Kind.AUTHORIZATION_KEY, {key.id: key_content(key)})
            self._note_key(uow, principal, key, "authorization_key.created")
        return key

    async def get_key(self, principal: Principal, key_id: str) -> AuthorizationKeyRow:
        """
        Raises:
            AuthorizationKeyNotFound: the app has none with this id.
        """
        app_id = require_app_or_user(principal)
        async with self._database.tenant(app_id) as uow:
            return await _get_key(uow, app_id, key_id)

    async def list_keys(
        self, principal: Principal, *, cursor: str | None = None, limit: int = 50
    ) -> Page[AuthorizationKeyRow]:
        """Keys of the app, oldest first, revoked ones too."""
        app_id = require_app_or_user(principal)
        async with self._database.tenant(app_id) as uow:
            keys = await store.list_keys(uow, app_id, after=after_of(cursor), limit=limit + 1)
        return page_of(keys, limit, lambda key: (key.id,))

    async def rotate_key(self, principal: Principal, key_id: str, public_key: str) -> AuthorizationKeyRow:
        """Put another key pair in the place of a key's. Id and everything that belongs to it stay; what the old pair
        authorised and is not signed yet must be authorised again.

        Raises:
            AuthorizationInsufficient: the request is not signed with the old and the new key.
            AuthorizationKeyNotFound, PublicKeyInvalid, PublicKeyTaken, RequestReplayed: as named.
        """
        app_id, new = require_app_or_user(principal), parse_public_key(public_key)
        async with self._database.tenant(app_id) as uow:
            await store.lock_authority(uow, app_id)
            key = await _get_key(uow, app_id, key_id)
            changed = replace(key, public_key=new, revision=key.revision + 1, rotated_at=self._clock.now())
            proof = principal.proof
            if (
                key.status != "active"
                or proof is None
                or not proof.covers(_leaf(key))
                or not proof.covers(_leaf(changed))
            ):
                raise AuthorizationInsufficient("expected signatures of this request by the old and by the new key")
            await use_up(uow, principal)
            await self._change_key(uow, key, changed)
            if not await store.insert_point(uow, changed, self._clock.now()):
                raise PublicKeyTaken
            self._note_key(uow, principal, changed, "authorization_key.rotated", (_leaf(key).identity,))
        return changed

    async def revoke_key(self, principal: Principal, key_id: str) -> AuthorizationKeyRow:
        """End a key for ever: it counts for nothing from then on, also for what it authorised and is not signed yet.

        Raises:
            AuthorizationInsufficient: something rests on the key, and neither it nor a quorum that has it signed this.
            KeyNeeded: an owner could never authorise anything again; give it another key first.
            AuthorizationKeyNotFound, RequestReplayed: as named.
        """
        app_id = require_app_or_user(principal)
        async with self._database.tenant(app_id) as uow:
            await store.lock_authority(uow, app_id)
            key = await _get_key(uow, app_id, key_id)
            if key.status == "revoked":
                return key
            owns, quorums = await store.is_owner(uow, app_id, key_id), await store.list_key_owners(uow, app_id, key_id)
            by: tuple[str, ...] = ()
            if owns or quorums or principal.kind != "app":
                by = _revokers(principal, key, quorums)
                await use_up(uow, principal)
            if owns or not all(is_satisfiable(quorum, without_key=key_id) for quorum in quorums):
                raise KeyNeeded
            revoked = replace(key, status="revoked", revoked_at=self._clock.now())
            await self._change_key(uow, key, revoked)
            self._note_key(uow, principal, revoked, "authorization_key.revoked", by)
        return revoked

    # --- quorums ------------------------------------------------------------------------------------------------------

    async def create_quorum(self, principal: Principal, terms: QuorumTerms) -> KeyQuorum:
        """Make a quorum.

        Raises:
            CallerNotAllowed: not the app. QuorumInvalid: see `check_quorum`; or a member that the app does not have.
        """
        app_id, now = _require_app(principal), self._clock.now()
        quorum = _with_terms(
            KeyQuorum(
                id=new_id(),
                app_id=app_id,
                display_name=None,
                threshold=1,
                key_ids=(),
                user_ids=(),
                quorum_ids=(),
                version=1,
                created_at=now,
                updated_at=now,
            ),
            terms,
        )
        async with self._database.tenant(app_id) as uow:
            await store.lock_authority(uow, app_id)
            await _check_known(uow, quorum)
            await store.insert_quorum(uow, quorum)
            await _check_as_written(uow, quorum)
            await self._seals.add(uow, app_id, Kind.KEY_QUORUM, {quorum.id: quorum_content(quorum)})
            self._note_quorum(uow, principal, quorum, "key_quorum.created")
        return quorum

    async def get_quorum(self, principal: Principal, quorum_id: str) -> KeyQuorum:
        """
        Raises:
            KeyQuorumNotFound: the app has none with this id.
        """
        app_id = require_app_or_user(principal)
        async with self._database.tenant(app_id) as uow:
            return await _get_quorum(uow, app_id, quorum_id)

    async def require_quorum(self, uow: UnitOfWork, principal: Principal, quorum_id: str) -> KeyQuorum:
        """
        Raises:
            KeyQuorumNotFound: the app of the caller has none with this id.
        """
        return await _get_quorum(uow, principal.tenant, quorum_id)

    async def list_quorums(
        self, principal: Principal, *, cursor: str | None = None, limit: int = 50
    ) -> Page[KeyQuorum]:
        """Quorums of the app, oldest first."""
        app_id = require_app_or_user(principal)
        async with self._database.tenant(app_id) as uow:
            quorums = await store.list_quorums(uow, app_id, after=after_of(cursor), limit=limit + 1)
        return page_of(quorums, limit, lambda quorum: (quorum.id,))

    async def update_quorum(self, principal: Principal, quorum_id: str, terms: QuorumTerms) -> KeyQuorum:
        """Change a quorum, authorised by itself as it was.

        Raises:
            AuthorizationInsufficient, RequestReplayed, KeyQuorumNotFound: as named.
            QuorumInvalid: as for a new one, also of the quorums that have it in them.
        """
        app_id = require_app_or_user(principal)
        async with self._database.tenant(app_id) as uow:
            return await self.change_quorum(uow, principal, quorum_id, terms)

    async def change_quorum(
        self, uow: UnitOfWork, principal: Principal, quorum_id: str, terms: QuorumTerms
    ) -> KeyQuorum:
        """`update_quorum` in the caller's transaction."""
        app_id = principal.tenant
        await store.lock_authority(uow, app_id)
        quorum = await _get_quorum(uow, app_id, quorum_id)
        by = await self._authorised(uow, principal, quorum)
        changed = replace(_with_terms(quorum, terms), version=quorum.version + 1, updated_at=self._clock.now())
        await _check_known(uow, changed)
        await store.update_quorum(uow, changed)
        await _check_as_written(uow, changed)
        content = (quorum_content(quorum), quorum_content(changed))
        await self._seals.change(uow, app_id, Kind.KEY_QUORUM, quorum.id, *content)
        self._note_quorum(uow, principal, changed, "key_quorum.changed", by)
        return changed

    async def delete_quorum(self, principal: Principal, quorum_id: str) -> None:
        """Delete a quorum to which nothing belongs, authorised by itself.

        Raises:
            AuthorizationInsufficient, RequestReplayed, KeyQuorumNotFound: as named.
            QuorumInUse: wallets or policies belong to it, or it is a member of another one.
        """
        app_id = require_app_or_user(principal)
        async with self._database.tenant(app_id) as uow:
            await store.lock_authority(uow, app_id)
            quorum = await _get_quorum(uow, app_id, quorum_id)
            by = await self._authorised(uow, principal, quorum)
            if await store.is_owner(uow, app_id, quorum_id) or await store.list_parents(uow, app_id, quorum_id):
                raise QuorumInUse
            await store.delete_quorum(uow, app_id, quorum_id)
            await self._seals.remove(uow, app_id, Kind.KEY_QUORUM, quorum_id, quorum_content(quorum))
            self._note_quorum(uow, principal, quorum, "key_quorum.deleted", by)

    # --- shared -------------------------------------------------------------------------------------------------------

    async def _authorised(self, uow: UnitOfWork, principal: Principal, quorum: KeyQuorum) -> tuple[str, ...]:
        owner = await store.find_owner(uow, quorum.app_id, quorum.id)
        assert owner is not None, "the quorum was found in this transaction"
        await self._seals.check(uow, quorum.app_id, list(owner_rows(quorum.app_id, owner)))
        return await require_owner(uow, principal, owner)

    async def _change_key(self, uow: UnitOfWork, before: AuthorizationKeyRow, after: AuthorizationKeyRow) -> None:
        await store.update_key(uow, after)
        content = (key_content(before), key_content(after))
        await self._seals.change(uow, after.app_id, Kind.AUTHORIZATION_KEY, after.id, *content)

    def _note_key(
        self, uow: UnitOfWork, principal: Principal, key: AuthorizationKeyRow, action: str, by: Sequence[str] = ()
    ) -> None:
        facts = {"public_key": key.public_key.hex(), "revision": key.revision}
        self._note(uow, principal, key.app_id, f"authorization_key:{key.id}", action, facts, by)

    def _note_quorum(
        self, uow: UnitOfWork, principal: Principal, quorum: KeyQuorum, action: str, by: Sequence[str] = ()
    ) -> None:
        facts: dict[str, object] = {
            "threshold": quorum.threshold,
            "key_ids": list(quorum.key_ids),
            "user_ids": list(quorum.user_ids),
            "quorum_ids": list(quorum.quorum_ids),
            "version": quorum.version,
        }
        self._note(uow, principal, quorum.app_id, f"key_quorum:{quorum.id}", action, facts, by)

    def _note(
        self,
        uow: UnitOfWork,
        principal: Principal,
        app_id: AppId,
        resource: str,
        action: str,
        facts: dict[str, object],
        by: Sequence[str],
    ) -> None:
        self._audit.append(
            uow,
            AuditEvent(
                app_id=app_id,
                subject=resource,
                actor=principal.label,
                action=action,
                resource=resource,
                facts={**facts, "authorized_by": list(by)},
                correlation_id=current_correlation_id(),
            ),
        )


def _require_app(principal: Principal) -> AppId:
    if principal.kind != "app":
        raise CallerNotAllowed(f"expected the app itself, was {principal.kind}")
    return principal.tenant


def _leaf(key: AuthorizationKeyRow) -> OwnerKey:
    return OwnerKey(id=key.id, public_key=key.public_key, revision=key.revision, is_active=key.status == "active")


def _revokers(principal: Principal, key: AuthorizationKeyRow, quorums: Sequence[Owner]) -> tuple[str, ...]:
    leaf = _leaf(key)
    if principal.proof is not None and principal.proof.covers(leaf):
        return (leaf.identity,)
    for quorum in quorums:
        authorisation = authorise(quorum, principal.proof, principal.user_id)
        if authorisation.is_enough:
            return authorisation.by
    raise AuthorizationInsufficient("expected a signature by the key itself, or those of a quorum that has it")


def _with_terms(quorum: KeyQuorum, terms: QuorumTerms) -> KeyQuorum:
    return replace(
        quorum,
        threshold=quorum.threshold if terms.threshold is None else terms.threshold,
        key_ids=quorum.key_ids if terms.key_ids is None else tuple(terms.key_ids),
        user_ids=quorum.user_ids if terms.user_ids is None else tuple(terms.user_ids),
        quorum_ids=quorum.quorum_ids if terms.quorum_ids is None else tuple(terms.quorum_ids),
        display_name=quorum.display_name if terms.display_name is None else terms.display_name,
    )


async def _get_key(uow: UnitOfWork, app_id: AppId, key_id: str) -> AuthorizationKeyRow:
    key = await store.find_key(uow, app_id, key_id)
    if key is None:
        raise AuthorizationKeyNotFound
    return key


async def _get_quorum(uow: UnitOfWork, app_id: AppId, quorum_id: str) -> KeyQuorum:
    quorum = await store.find_quorum(uow, app_id, quorum_id)
    if quorum is None:
        raise KeyQuorumNotFound
    return quorum


async def _check_known(uow: UnitOfWork, quorum: KeyQuorum) -> None:
    """Every member exists, and is named once."""
    for members in (quorum.key_ids, quorum.user_ids, quorum.quorum_ids):
        if len(set(members)) != len(members):
            raise QuorumInvalid("a member is named twice")
    if quorum.id in quorum.quorum_ids:
        raise QuorumInvalid("a quorum is no member of itself")
    unknown = await store.unknown_members(uow, quorum.app_id, quorum.key_ids, quorum.user_ids, quorum.quorum_ids)
    if unknown:
        raise QuorumInvalid(f"there is no member {unknown[0][:64]}")


async def _check_as_written(uow: UnitOfWork, quorum: KeyQuorum) -> None:
    """Look at the whole tree as it now stands, and at the trees that it is a part of."""
    owner = await store.find_owner(uow, quorum.app_id, quorum.id)
    assert owner is not None, "it was written in this transaction"
    parents = await store.list_parents(uow, quorum.app_id, quorum.id)
    for child in quorum.quorum_ids:
        inner = await store.find_quorum(uow, quorum.app_id, child)
        if parents or inner is None or inner.quorum_ids:
            raise QuorumInvalid("a quorum in a quorum has keys and users only")
    for tree in (owner, *parents):
        check_quorum(tree)
