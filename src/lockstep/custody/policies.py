"""Policies: checked when they are written, kept in every revision."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace

from lockstep.custody import store
from lockstep.custody.audit import AuditEvent
from lockstep.custody.authority.guard import resolve_owner
from lockstep.custody.authority.types import NewOwner
from lockstep.custody.base import Base, after_of, require_app_or_user
from lockstep.custody.condition_sets import link_policy, lock_types
from lockstep.custody.errors import (
    CallerNotAllowed,
    PolicyNotFound,
)
from lockstep.custody.limits.store import hold_aggregations
from lockstep.custody.policy import (
    CompiledPolicy,
    PolicyInvalid,
    check_sets,
    compile_policy,
    load_policy,
    parse_policy,
    references_of,
    set_ids,
)
from lockstep.custody.policy import Policy as PolicyDocument
from lockstep.custody.policy.revisions import PolicyDiff, diff_rules
from lockstep.custody.seals import Content, Kind, contents
from lockstep.custody.types import Policy, PolicyRevision, Principal
from lockstep.custody.view import Fault
from lockstep.kit.database import UnitOfWork
from lockstep.kit.ids import UserId, new_id
from lockstep.kit.paging import Page, decode_cursor, page_of
from lockstep.kit.telemetry import current_correlation_id


class PolicyService(Base):
    """Documents of policies and their revisions."""

    async def create_policy(
        self, uow: UnitOfWork, principal: Principal, document: object, owner_id: str | None = None
    ) -> Policy:
        """Check a document and keep it as revision 1. A user's policy is changed by that user only.

        Args:
            owner_id: authorization key or quorum that must sign every change; for the app.

        Raises:
            PolicyInvalid: everything that is wrong with it, with paths.
            CallerNotAllowed: neither an app nor a user, or a user for another owner.
            OwnerNotFound, OwnerInvalid: see `resolve_owner`.
        """
        app_id, now = require_app_or_user(principal), self._clock.now()
        if owner_id is not None and principal.kind != "app":
            raise CallerNotAllowed("a user makes policies for itself only")
        parsed = parse_policy(document)
        owner = await resolve_owner(uow, app_id, NewOwner(owner_id=owner_id))
        policy = Policy(
            id=new_id(),
            app_id=app_id,
            name=parsed.name,
            chain_type=parsed.chain_type,
            owner_user_id=principal.user_id,
            owner_key_id=owner.key_id,
            owner_quorum_id=owner.quorum_id,
            revision=1,
            rules=list(parsed.document["rules"]),
            created_at=now,
            updated_at=now,
        )
        await self._check_named(uow, principal, parsed, policy.owner_id)
        await store.insert_policy(uow, policy, dict(parsed.document), principal.label)
        await self._seals.add(uow, app_id, Kind.POLICY, {policy.id: _content(policy)})
        await self._seal_document(uow, policy, parsed.document)
        await link_policy(uow, app_id, policy.id, set_ids(parsed))
        self._audit.append(uow, _policy_event(principal, policy, "policy.created"))
        return policy

    async def get_policy(self, principal: Principal, policy_id: str) -> Policy:
        """
        Raises:
            PolicyNotFound: there is none for this caller.
        """
        async with self._database.tenant(principal.tenant) as uow:
            return await self._visible_policy(uow, principal, policy_id)

    async def list_policies(self, principal: Principal, *, cursor: str | None = None, limit: int = 50) -> Page[Policy]:
        """Policies that the caller may see, oldest first."""
        app_id = require_app_or_user(principal)
        async with self._database.tenant(app_id) as uow:
            policies = await store.list_policies(
                uow, app_id, visible_to=principal.user_id, after=after_of(cursor), limit=limit + 1
            )
        return page_of(policies, limit, lambda policy: (policy.id,))

    async def update_policy(
        self, principal: Principal, policy_id: str, document: object, owner: NewOwner | None = None
    ) -> Policy:
        """Put a new document in force as the next revision; decisions already made are looked at again before they
        are signed.

        Args:
            owner: to whom the policy is given; None: it stays whose it is.

        Raises:
            PolicyNotFound, PolicyInvalid, CallerNotAllowed, RequestReplayed: as named.
            OwnerRequired, AuthorizationInsufficient: the policy is another one's to change.
            UserNotFound, OwnerNotFound, OwnerInvalid: see `resolve_owner`.
        """
        async with self._database.tenant(require_app_or_user(principal)) as uow:
            return await self.change_policy(uow, principal, policy_id, document, owner)

    async def change_policy(
        self, uow: UnitOfWork, principal: Principal, policy_id: str, document: object, owner: NewOwner | None = None
    ) -> Policy:
        """`update_policy` in the caller's transaction."""
        app_id, parsed = require_app_or_user(principal), parse_policy(document)
        await store.lock_policy(uow, app_id, policy_id)
        policy = await self._visible_policy(uow, principal, policy_id)
        by = await self._require_owner(uow, principal, policy, "only who made the policy may change it")
        before = policy
        policy = replace(
            policy,
            name=parsed.name,
            revision=policy.revision + 1,
            rules=list(parsed.document["rules"]),
            updated_at=self._clock.now(),
        )
        if owner is not None:
            given = await resolve_owner(uow, app_id, owner)
            policy = replace(
                policy,
                owner_user_id=None if given.user_id is None else UserId(given.user_id),
                owner_key_id=given.key_id,
                owner_quorum_id=given.quorum_id,
            )
        await self._check_named(uow, principal, parsed, policy.owner_id)
        await store.update_policy(uow, policy, dict(parsed.document), principal.label)
        await self._seals.change(uow, app_id, Kind.POLICY, policy.id, _content(before), _content(policy))
        await self._seal_document(uow, policy, parsed.document)
        await link_policy(uow, app_id, policy.id, set_ids(parsed))
        self._audit.append(uow, _policy_event(principal, policy, "policy.changed", by))
        return policy

    async def _seal_document(self, uow: UnitOfWork, policy: Policy, document: Mapping[str, object]) -> None:
        content = contents.of_policy_document(policy.app_id, document)
        await self._seals.add(uow, policy.app_id, Kind.POLICY_DOCUMENT, {f"{policy.id}:{policy.revision}": content})

    async def list_policy_revisions(
        self, principal: Principal, policy_id: str, *, cursor: str | None = None, limit: int = 50
    ) -> Page[PolicyRevision]:
        """Every document that a policy had, the newest first.

        Raises:
            PolicyNotFound: there is none for this caller.
        """
        before = int(decode_cursor(cursor, int)[0]) if cursor else None
        async with self._database.tenant(principal.tenant) as uow:
            await self._visible_policy(uow, principal, policy_id)
            rows = await store.list_revisions(uow, principal.tenant, policy_id, before=before, limit=limit + 1)
        return page_of(rows, limit, lambda row: (row.revision,))

    async def diff_policy(self, principal: Principal, policy_id: str, before: int, after: int) -> PolicyDiff:
        """What became of the rules between two revisions.

        Raises:
            PolicyNotFound: there is none for this caller, or no such revision.
        """
        async with self._database.tenant(principal.tenant) as uow:
            await self._visible_policy(uow, principal, policy_id)
            found = [await store.find_revision(uow, principal.tenant, policy_id, one) for one in (before, after)]
        for number, revision in zip((before, after), found, strict=True):
            if revision is None:
                raise PolicyNotFound(f"the policy has no revision {number}")
        old, new = (revision.rules for revision in found if revision is not None)
        return diff_rules(old, new)

    async def require_policy(self, uow: UnitOfWork, principal: Principal, policy_id: str) -> Policy:
        """A policy that the caller may see.

        Raises:
            PolicyNotFound: there is none for this caller.
        """
        return await self._visible_policy(uow, principal, policy_id)

    async def compiled_policy(self, principal: Principal, policy_id: str, document: object | None) -> CompiledPolicy:
        """A policy that the caller may see, with its document in force or with one that is only proposed (revision 0)."""
        policy = await self.get_policy(principal, policy_id)
        if document is not None:
            return compile_policy(await self.checked_document(principal, document), policy.id, 0)
        in_force = {"version": "1.0", "name": policy.name, "chain_type": policy.chain_type, "rules": policy.rules}
        return load_policy(in_force, policy.id, policy.revision)

    async def checked_document(self, principal: Principal, document: object) -> PolicyDocument:
        """A document that could be put in force by this caller.

        Raises:
            PolicyInvalid: everything that is wrong with it, with paths.
        """
        parsed = parse_policy(document)
        async with self._database.tenant(principal.tenant) as uow:
            await self._check_named(uow, principal, parsed)
        return parsed

    async def stored_document(
        self, principal: Principal, policy_id: str, revision: int | None = None
    ) -> PolicyDocument:
        """The document of a revision; None: of the one in force.

        Raises:
            PolicyNotFound: there is none for this caller, or no such revision.
            PolicyInvalid: it is not understood any more, and denies everything.
        """
        async with self._database.tenant(principal.tenant) as uow:
            policy = await self._visible_policy(uow, principal, policy_id)
            number = policy.revision if revision is None else revision
            found = await store.find_revision(uow, principal.tenant, policy_id, number)
        if found is None:
            raise PolicyNotFound(f"the policy has no revision {number}")
        return parse_policy(
            {"version": "1.0", "name": found.name, "chain_type": policy.chain_type, "rules": found.rules}
        )

    async def _check_named(
        self, uow: UnitOfWork, principal: Principal, parsed: PolicyDocument, owner_id: str | None = None
    ) -> None:
        """Refuse a document that looks something up in a condition set, or a sum, where it cannot be; keeps them from being
        deleted until the commit.

        Args:
            owner_id: key or quorum that the policy belongs to. Sets belong to apps and users, who change them without its
                signature, and whoever changes a set changes what the policy allows.
        """
        if owner_id is not None and set_ids(parsed):
            raise PolicyInvalid([Fault("rules", "a policy that belongs to a key or quorum cannot name condition sets")])
        known = await lock_types(uow, principal.tenant, set_ids(parsed), visible_to=principal.user_id)
        check_sets(parsed, known)
        named = {condition.partition(".")[2] for condition in references_of(parsed)}
        missing = named - await hold_aggregations(uow, principal.tenant, sorted(named)) if named else set()
        if missing:
            raise PolicyInvalid([Fault("rules", f"there is no aggregation {one}") for one in sorted(missing)])

    async def _visible_policy(self, uow: UnitOfWork, principal: Principal, policy_id: str) -> Policy:
        require_app_or_user(principal)
        policy = await store.find_policy(uow, principal.tenant, policy_id)
        foreign = (
            policy is not None and principal.kind == "user" and policy.owner_user_id not in (None, principal.user_id)
        )
        if policy is None or foreign:
            raise PolicyNotFound
        return policy


def _content(policy: Policy) -> Content:
    return contents.of_policy(policy.app_id, policy.owner_user_id, policy.owner_id, policy.revision)


def _policy_event(principal: Principal, policy: Policy, action: str, by: tuple[str, ...] = ()) -> AuditEvent:
    return AuditEvent(
        app_id=policy.app_id,
        subject=policy.id,
        actor=principal.label,
        action=action,
        resource=f"policy:{policy.id}",
        facts={
            "name": policy.name,
            "revision": policy.revision,
            "document_sha256": _document_hash(policy),
            "owner": policy.owner_user_id or policy.owner_id,
            **({"authorized_by": list(by)} if by else {}),
        },
        correlation_id=current_correlation_id(),
    )


def _document_hash(policy: Policy) -> str:
    return hashlib.sha256(json.dumps(policy.rules, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
