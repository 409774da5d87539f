"""Policies: checked when they are written, kept in every revision."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace

from lockstep.custody import store
from lockstep.custody.audit import AuditEvent
from lockstep.custody.base import Base, after_of, require_app_or_user
from lockstep.custody.condition_sets import link_policy, lock_types
from lockstep.custody.errors import (
    OwnerRequired,
    PolicyNotFound,
)
from lockstep.custody.policy import CompiledPolicy, check_sets, compile_policy, load_policy, parse_policy, set_ids
from lockstep.custody.policy import Policy as PolicyDocument
from lockstep.custody.policy.revisions import PolicyDiff, diff_rules
from lockstep.custody.seals import Content, Kind, contents
from lockstep.custody.types import Policy, PolicyRevision, Principal
from lockstep.kit.database import UnitOfWork
from lockstep.kit.ids import new_id
from lockstep.kit.paging import Page, decode_cursor, page_of
from lockstep.kit.telemetry import current_correlation_id


class PolicyService(Base):
    """Documents of policies and their revisions."""

    async def create_policy(self, uow: UnitOfWork, principal: Principal, document: object) -> Policy:
        """Check a document and keep it as revision 1. A user's policy is changed by that user only.

        Raises:
            PolicyInvalid: everything that is wrong with it, with paths.
            CallerNotAllowed: neither an app nor a user.
        """
        app_id, now = require_app_or_user(principal), self._clock.now()
        parsed = parse_policy(document)
        policy = Policy(
            id=new_id(),
            app_id=app_id,
            name=parsed.name,
            chain_type=parsed.chain_type,
            owner_user_id=principal.user_id,
            revision=1,
            rules=list(parsed.document["rules"]),
            created_at=now,
            updated_at=now,
        )
        await self._check_sets(uow, principal, parsed)
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

    async def update_policy(self, principal: Principal, policy_id: str, document: object) -> Policy:
        """Put a new document in force as the next revision; decisions already made are looked at again before they
        are signed.

        Raises:
            PolicyNotFound, PolicyInvalid, CallerNotAllowed: as named.
            OwnerRequired: the policy is another one's to change.
        """
        app_id = require_app_or_user(principal)
        parsed = parse_policy(document)
        async with self._database.tenant(app_id) as uow:
            await store.lock_policy(uow, app_id, policy_id)
            policy = await self._visible_policy(uow, principal, policy_id)
            if policy.owner_user_id != principal.user_id:
                raise OwnerRequired("only who made the policy may change it")
            before = policy
            policy = replace(
                policy,
                name=parsed.name,
                revision=policy.revision + 1,
                rules=list(parsed.document["rules"]),
                updated_at=self._clock.now(),
            )
            await self._check_sets(uow, principal, parsed)
            await store.update_policy(uow, policy, dict(parsed.document), principal.label)
            await self._seals.change(uow, app_id, Kind.POLICY, policy.id, _content(before), _content(policy))
            await self._seal_document(uow, policy, parsed.document)
            await link_policy(uow, app_id, policy.id, set_ids(parsed))
            self._audit.append(uow, _policy_event(principal, policy, "policy.changed"))
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

    async def _compiled_policy(self, principal: Principal, policy_id: str, document: object | None) -> CompiledPolicy:
        """A policy that the caller may see, with its document in force or with one that is only proposed (revision 0)."""
        policy = await self.get_policy(principal, policy_id)
        if document is not None:
            parsed = parse_policy(document)
            async with self._database.tenant(principal.tenant) as uow:
                await self._check_sets(uow, principal, parsed)
            return compile_policy(parsed, policy.id, 0)
        in_force = {"version": "1.0", "name": policy.name, "chain_type": policy.chain_type, "rules": policy.rules}
        return load_policy(in_force, policy.id, policy.revision)

    async def _check_sets(self, uow: UnitOfWork, principal: Principal, parsed: PolicyDocument) -> None:
        """Refuse a document that looks something up in a condition set where it cannot be; keeps the sets from being
        deleted until the commit."""
        known = await lock_types(uow, principal.tenant, set_ids(parsed), visible_to=principal.user_id)
        check_sets(parsed, known)

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
    return contents.of_policy(policy.app_id, policy.owner_user_id, policy.revision)


def _policy_event(principal: Principal, policy: Policy, action: str) -> AuditEvent:
    return AuditEvent(
        app_id=policy.app_id,
        subject=policy.id,
        actor=principal.label,
        action=action,
        resource=f"policy:{policy.id}",
        facts={"name": policy.name, "revision": policy.revision, "document_sha256": _document_hash(policy)},
        correlation_id=current_correlation_id(),
    )


def _document_hash(policy: Policy) -> str:
    return hashlib.sha256(json.dumps(policy.rules, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
