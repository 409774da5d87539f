"""Asking for approvals, giving them, and carrying out what enough have approved, exactly once.

The row lock orders those who authorise: one of them finds it enough and starts it. A change is written in the transaction
that ends the approval. A signature of a wallet travels the same road as a direct request, under an idempotency key that
only this approval has, so whoever takes it up after a crash meets the first attempt's answer.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

import psycopg
import structlog

from lockstep.custody.approvals import store
from lockstep.custody.approvals.errors import ApprovalClosed, ApprovalInvalid, ApprovalNotFound, ApprovalNotNeeded
from lockstep.custody.approvals.operations import change, read_operation
from lockstep.custody.approvals.types import (
    Approval,
    ApprovalProof,
    ApprovalView,
    HolderSignature,
    Operation,
    Status,
)
from lockstep.custody.audit import AuditEvent, AuditLog
from lockstep.custody.authority.errors import AuthorizationInsufficient, SignatureMalformed
from lockstep.custody.authority.p256 import parse_signature
from lockstep.custody.authority.proofs import RequestProof
from lockstep.custody.authority.rules import authorise
from lockstep.custody.authority.service import AuthorityService
from lockstep.custody.authority.store import find_owner
from lockstep.custody.authority.types import Owner
from lockstep.custody.base import require_app_or_user
from lockstep.custody.errors import IdempotencyInProgress
from lockstep.custody.idempotency import Claim, Outcome, ResponseBox, claim_for
from lockstep.custody.idempotency.service import KEEP, LOCK
from lockstep.custody.seals import Content, Kind, Seals, contents
from lockstep.custody.service import CustodyService
from lockstep.custody.types import Principal
from lockstep.kit.canonical import canonical_json
from lockstep.kit.clock import Clock, epoch_ms, pause
from lockstep.kit.database import Database, UnitOfWork
from lockstep.kit.errors import LockstepError, Refuse
from lockstep.kit.ids import new_id
from lockstep.kit.paging import Page, decode_cursor, page_of
from lockstep.kit.telemetry import current_correlation_id

log = structlog.get_logger(__name__)

LIFETIME: Final = timedelta(hours=72)
LONGEST: Final = timedelta(days=30)
_SURE: Final = KEEP - timedelta(hours=1)
"""As long as this the answer of a first attempt is certainly known; after that nothing is tried again."""
_BATCH: Final = 20


class ApprovalService:
    """Approvals of apps."""

    def __init__(
        self,
        *,
        database: Database,
        custody: CustodyService,
        authority: AuthorityService,
        audit: AuditLog,
        seals: Seals,
        box: ResponseBox,
        origin: str,
        clock: Clock,
    ) -> None:
        """
        Args:
            box: seals the answers, which hold signatures.
            origin: public origin of the deployment.
        """
        self._database, self._custody, self._authority = database, custody, authority
        self._audit, self._seals, self._box, self._clock = audit, seals, box, clock
        self._origin = origin.rstrip("/")

    # --- asking -------------------------------------------------------------------------------------------------------

    async def create(
        self,
        principal: Principal,
        method: str,
        path: str,
        body: Mapping[str, Any],
        expires_at: datetime | None = None,
    ) -> ApprovalView:
        """Have a request wait for those who own what it is about. Nothing is signed or changed yet.

        Args:
            method, path, body: of the request as it would be made directly.
            expires_at: None: in 72 hours.

        Raises:
            ApprovalInvalid: see `read_operation`; or an end in the past or too far away, or a body without canonical form.
            ApprovalNotNeeded: the thing belongs to no key and no quorum.
            WalletNotFound, PolicyNotFound, KeyQuorumNotFound: there is none for this caller.
        """
        app_id, now = require_app_or_user(principal), self._clock.now()
        operation = read_operation(method, path, body)
        ends_at = expires_at or now + LIFETIME
        if not now < ends_at <= now + LONGEST:
            raise ApprovalInvalid(f"expected an end in the future, at most {LONGEST.days} days away")
        approval_id = new_id()
        try:
            payload = canonical_json(
                {
                    "version": 1,
                    "approval_id": approval_id,
                    "app_id": app_id,
                    "expires_at": str(epoch_ms(ends_at)),
                    "request": {"method": method, "url": self._origin + path, "body": dict(body)},
                }
            )
        except ValueError as error:
            raise ApprovalInvalid(f"the body has no canonical form: {error}") from error
        approval = Approval(
            id=approval_id,
            app_id=app_id,
            operation=operation,
            payload=payload.decode(),
            payload_digest=hashlib.sha256(payload).digest(),
            status="pending",
            created_by=principal.label,
            created_at=now,
            expires_at=ends_at,
        )
        async with self._database.tenant(app_id) as uow:
            await self._require_visible(uow, principal, operation)
            owner = await self._owner(uow, approval)
            if owner is None:
                raise ApprovalNotNeeded
            await store.insert_approval(uow, approval)
            await self._seals.add(uow, app_id, Kind.APPROVAL, {approval.id: _content(approval, is_over=False)})
            self._note(uow, principal.label, approval, "approval.created")
        return self._view(approval, owner)

    async def get(self, principal: Principal, approval_id: str) -> ApprovalView:
        """
        Raises:
            ApprovalNotFound: there is none for this caller.
        """
        app_id = require_app_or_user(principal)
        async with self._database.tenant(app_id) as uow:
            approval, owner = await self._visible(uow, principal, await store.find_approval(uow, app_id, approval_id))
        return self._view(approval, owner)

    async def list_approvals(
        self,
        principal: Principal,
        *,
        status: Status | None = None,
        resource_id: str | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> Page[ApprovalView]:
        """Approvals of the app, the newest first; a user sees those that it may give."""
        app_id, now = require_app_or_user(principal), self._clock.now()
        before = None if cursor is None else str(decode_cursor(cursor, str)[0])
        async with self._database.tenant(app_id) as uow:
            found = await store.list_approvals(
                uow, app_id, status=status, resource_id=resource_id, now=now, before=before, limit=limit + 1
            )
            page = page_of(found, limit, lambda approval: (approval.id,))
            owners = {approval.id: await self._owner(uow, approval) for approval in page.items}
        shown = [approval for approval in page.items if _may_see(principal, owners[approval.id])]
        return Page([self._view(approval, owners[approval.id]) for approval in shown], page.next_cursor)

    # --- giving -------------------------------------------------------------------------------------------------------

    async def authorize(self, principal: Principal, approval_id: str, signature: str | None = None) -> ApprovalView:
        """Authorise with a key's signature over the payload, or as the user that calls. When it is enough, it is carried out.

        Args:
            signature: base64, DER or raw.

        Raises:
            AuthorizationInsufficient: it is by no active key of the owner, or the user does not stand in it.
            ApprovalNotFound, ApprovalClosed, SignatureMalformed: as named.
        """
        app_id, now = require_app_or_user(principal), self._clock.now()
        pair = None if signature is None else _read_signature(signature)
        async with self._database.tenant(app_id) as uow:
            found = await store.lock_approval(uow, app_id, approval_id)
            approval, owner = await self._visible(uow, principal, found)
            if self._status(approval) != "pending":
                raise ApprovalClosed(f"the approval is {self._status(approval)}", status=self._status(approval))
            signed = self._sealed(approval, _signature_of(principal, approval, owner, pair, now))
            if await store.insert_signature(uow, approval, signed):
                approval = replace(approval, signatures=(*approval.signatures, signed))
                self._note(uow, principal.label, approval, "approval.authorized", holder=signed.holder)
            assert owner is not None, "who may sign it owns it"
            is_enough = authorise(owner, self._proof(approval)).is_enough
            if is_enough:
                await store.start(uow, approval, now, now + LOCK)
        if is_enough:
            await self._carry_out(approval, now)
        return await self.get(principal, approval_id)

    async def reject(self, principal: Principal, approval_id: str) -> ApprovalView:
        """End an approval that is pending. The app may, and every user who may give it.

        Raises:
            ApprovalNotFound, ApprovalClosed: as named.
        """
        app_id = require_app_or_user(principal)
        async with self._database.tenant(app_id) as uow:
            found = await store.lock_approval(uow, app_id, approval_id)
            approval, _ = await self._visible(uow, principal, found)
            if self._status(approval) != "pending":
                raise ApprovalClosed(f"the approval is {self._status(approval)}", status=self._status(approval))
            await store.finish(uow, approval, "rejected", self._clock.now())
            await self._seal_end(uow, approval)
            self._note(uow, principal.label, approval, "approval.rejected")
        return await self.get(principal, approval_id)

    # --- carrying out -------------------------------------------------------------------------------------------------

    async def resume(self) -> int:
        """Take up what was started and died, and end what has run out; returns how many."""
        now = self._clock.now()
        async with self._database.system("approvals") as uow:
            expired = await store.expire(uow, now)
            due = await store.claim_due(uow, now, now + LOCK, _BATCH)
        for approval in due:
            await self._carry_out(approval, approval.started_at or now)
        return expired + len(due)

    async def run(self, stop: asyncio.Event, every_seconds: float = 5.0) -> None:
        """Resume until `stop` is set. Any number of processes may do it."""
        while not stop.is_set():
            try:
                await self.resume()
            except (LockstepError, psycopg.Error) as error:
                log.warning("approvals_resume_failed", reason=type(error).__name__)
            await pause(stop, every_seconds)

    async def _carry_out(self, approval: Approval, started_at: datetime) -> None:
        """Do what was approved, unless it is done; what fails in passing stays due."""
        principal = Principal(kind="app", app_id=approval.app_id, proof=self._proof(approval))
        request = approval.operation
        try:
            async with self._database.tenant(approval.app_id) as uow:
                content = _content(approval, is_over=False)
                await self._seals.check(uow, approval.app_id, [(Kind.APPROVAL, approval.id, content)])
            operation = read_operation(request.method, request.path, request.body)
            if operation.kind == "wallet_rpc":
                await self._sign(approval, operation, principal, started_at)
            else:
                await self._change(approval, operation, principal)
        except IdempotencyInProgress:
            return  # another attempt is at it
        except Refuse as error:
            async with self._database.tenant(approval.app_id) as uow:
                await self._end(uow, approval, "failed", reason_code=error.code)
        except LockstepError as error:
            log.warning("approval_waits", approval_id=approval.id, reason=error.code)

    async def _sign(self, approval: Approval, operation: Operation, principal: Principal, started_at: datetime) -> None:
        if self._clock.now() >= started_at + _SURE:
            raise ApprovalInvalid("it was started too long ago to know what became of it; look at the audit log")
        claim = _claim(approval, principal)
        outcome = await self._custody.rpc(principal, operation.resource_id, dict(operation.body), claim)
        async with self._database.tenant(approval.app_id) as uow:
            if outcome.is_problem:
                await self._end(uow, approval, "failed", reason_code=str(outcome.body.get("code")))
            else:
                await self._end(uow, approval, "executed", outcome)

    async def _change(self, approval: Approval, operation: Operation, principal: Principal) -> None:
        async with self._database.tenant(approval.app_id) as uow:
            now = await store.lock_approval(uow, approval.app_id, approval.id)
            if now is None or now.status != "processing":
                return
            answer = await change(self._custody, self._authority, uow, principal, operation)
            await self._end(uow, approval, "executed", Outcome(200, answer))

    async def _end(
        self,
        uow: UnitOfWork,
        approval: Approval,
        status: Status,
        outcome: Outcome | None = None,
        *,
        reason_code: str | None = None,
    ) -> None:
        claim = _claim(approval, Principal(kind="app", app_id=approval.app_id))
        sealed = None if outcome is None else self._box.seal(claim, outcome.body)
        if await store.finish(uow, approval, status, self._clock.now(), reason_code=reason_code, response=sealed):
            await self._seal_end(uow, approval)
            holders = [one.holder for one in approval.signatures]
            facts: dict[str, object] = {
                "authorized_by": holders,
                **({"reason_code": reason_code} if reason_code else {}),
            }
            self._note(uow, f"app:{approval.app_id}", approval, f"approval.{status}", **facts)

    async def _seal_end(self, uow: UnitOfWork, approval: Approval) -> None:
        """Whoever brings an approval back in the database has it carried out no second time."""
        contents_of = (_content(approval, is_over=False), _content(approval, is_over=True))
        await self._seals.change(uow, approval.app_id, Kind.APPROVAL, approval.id, *contents_of)

    # --- shared -------------------------------------------------------------------------------------------------------

    async def _require_visible(self, uow: UnitOfWork, principal: Principal, operation: Operation) -> None:
        if operation.kind == "policy_change":
            await self._custody.require_policy(uow, principal, operation.resource_id)
        elif operation.kind == "quorum_change":
            await self._authority.require_quorum(uow, principal, operation.resource_id)
        else:
            await self._custody.require_wallet(uow, principal, operation.resource_id)

    async def _owner(self, uow: UnitOfWork, approval: Approval) -> Owner | None:
        """Who must authorise it, as that is now; None: nobody any more."""
        operation = approval.operation
        if operation.kind == "policy_change":
            return await store.find_policy_owner(uow, approval.app_id, operation.resource_id)
        if operation.kind == "quorum_change":
            return await find_owner(uow, approval.app_id, operation.resource_id)
        return await store.find_wallet_owner(uow, approval.app_id, operation.resource_id)

    def _sealed(self, approval: Approval, signed: HolderSignature) -> HolderSignature:
        if signed.signature is not None:
            return signed
        content = _user_content(approval, signed.holder)
        return replace(signed, seal=self._seals.code("approval_signature", signed.holder, content))

    async def _visible(
        self, uow: UnitOfWork, principal: Principal, found: Approval | None
    ) -> tuple[Approval, Owner | None]:
        if found is None:
            raise ApprovalNotFound
        owner = await self._owner(uow, found)
        if not _may_see(principal, owner):
            raise ApprovalNotFound
        return found, owner

    def _proof(self, approval: Approval) -> ApprovalProof:
        """What has been collected and is believed: signatures are verified by who asks, the words of users are sealed."""
        believed = [
            one
            for one in approval.signatures
            if one.signature is not None
            or self._seals.is_sealed("approval_signature", one.holder, _user_content(approval, one.holder), one.seal)
        ]
        return ApprovalProof(replace(approval, signatures=believed))

    def _status(self, approval: Approval) -> Status:
        is_late = approval.status == "pending" and self._clock.now() >= approval.expires_at
        return "expired" if is_late else approval.status

    def _view(self, approval: Approval, owner: Owner | None) -> ApprovalView:
        response = None
        if approval.response is not None:
            claim = _claim(approval, Principal(kind="app", app_id=approval.app_id))
            response = self._box.open(claim, approval.response)
        return ApprovalView(
            approval=replace(approval, status=self._status(approval)),
            authorisation=None if owner is None else authorise(owner, self._proof(approval)),
            response=response,
        )

    def _note(self, uow: UnitOfWork, actor: str, approval: Approval, action: str, **facts: object) -> None:
        operation = approval.operation
        noun = {"policy_change": "policy", "quorum_change": "key_quorum"}.get(operation.kind, "wallet")
        self._audit.append(
            uow,
            AuditEvent(
                app_id=approval.app_id,
                subject=operation.resource_id,
                actor=actor,
                action=action,
                resource=f"{noun}:{operation.resource_id}",
                facts={"approval_id": approval.id, "payload_digest": approval.payload_digest.hex(), **facts},
                correlation_id=current_correlation_id(),
            ),
        )


def _content(approval: Approval, *, is_over: bool) -> Content:
    return contents.of_approval(approval.app_id, approval.payload_digest, is_over=is_over)


def _user_content(approval: Approval, holder: str) -> Content:
    return contents.of_user_approval(approval.app_id, approval.id, holder)


def _may_see(principal: Principal, owner: Owner | None) -> bool:
    return principal.kind == "app" or (owner is not None and principal.user_id in set(owner.all_users()))


def _claim(approval: Approval, principal: Principal) -> Claim:
    """The idempotency key that only this approval has: no request's scope looks like it."""
    operation = approval.operation
    claim = claim_for(principal, operation.method, operation.path, approval.id, dict(operation.body))
    return replace(claim, scope=f"approval {approval.id}")


def _read_signature(text: str) -> tuple[int, int]:
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise SignatureMalformed("expected base64") from error
    return parse_signature(raw)


def _signature_of(
    principal: Principal, approval: Approval, owner: Owner | None, pair: tuple[int, int] | None, now: datetime
) -> HolderSignature:
    """What an authorisation is put down as."""
    if pair is not None:
        signed = RequestProof(approval.payload.encode(), [pair], approval.expires_at)
        for key in () if owner is None else owner.all_keys():
            if key.is_active and signed.covers(key):
                r, s = pair
                return HolderSignature(holder=key.identity, signature=r.to_bytes(32) + s.to_bytes(32), signed_at=now)
        raise AuthorizationInsufficient("the signature is by no active key of the owner, or over something else")
    if principal.user_id is None or owner is None or principal.user_id not in set(owner.all_users()):
        raise AuthorizationInsufficient("expected a signature over the payload, or the token of a user of the owner")
    return HolderSignature(holder=f"user:{principal.user_id}", signature=None, signed_at=now)
