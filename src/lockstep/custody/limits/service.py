"""Aggregations: made and deleted by their app, never changed, for policies and counters rest on them."""

from __future__ import annotations

import hashlib
from typing import Final

from lockstep.custody.audit import AuditEvent, AuditLog
from lockstep.custody.base import require_app_or_user
from lockstep.custody.errors import CallerNotAllowed
from lockstep.custody.limits import store
from lockstep.custody.limits.errors import AggregationInUse, AggregationNotFound, TooManyAggregations
from lockstep.custody.limits.schema import parse_aggregation
from lockstep.custody.limits.types import SEALED_AS, Aggregation
from lockstep.custody.seals import Seals
from lockstep.custody.seals.contents import of_aggregation
from lockstep.custody.types import Principal
from lockstep.kit.canonical import canonical
from lockstep.kit.clock import Clock
from lockstep.kit.database import Database, UnitOfWork
from lockstep.kit.ids import AppId, new_id
from lockstep.kit.telemetry import current_correlation_id

MAX_AGGREGATIONS: Final = 10
"""Of one app."""


class AggregationService:
    """The aggregations of apps. The app makes and deletes them; its users may see them and name them in policies."""

    def __init__(self, database: Database, audit: AuditLog, seals: Seals, clock: Clock) -> None:
        self._database, self._audit, self._seals, self._clock = database, audit, seals, clock

    async def create(self, principal: Principal, document: object) -> Aggregation:
        """Check a document and keep it.

        Raises:
            AggregationInvalid: everything that is wrong with it, with paths.
            TooManyAggregations: the app has `MAX_AGGREGATIONS`.
            CallerNotAllowed: not the app itself.
        """
        app_id = _require_app(principal)
        parsed = parse_aggregation(document)
        made = Aggregation(
            id=new_id(), app_id=app_id, name=parsed["name"], document=parsed, created_at=self._clock.now()
        )
        async with self._database.tenant(app_id) as uow:
            await store.lock_aggregations(uow, app_id)
            if len(await store.list_aggregations(uow, app_id)) >= MAX_AGGREGATIONS:
                raise TooManyAggregations(f"expected at most {MAX_AGGREGATIONS} aggregations; delete one first")
            seal = self._seals.code(SEALED_AS, made.id, of_aggregation(app_id, parsed))
            await store.insert_aggregation(uow, made, seal, principal.label)
            self._note(uow, principal, made, "created")
        return made

    async def get(self, principal: Principal, aggregation_id: str) -> Aggregation:
        """
        Raises:
            AggregationNotFound: the app has none with this id.
            CallerNotAllowed: neither the app nor a user of it.
        """
        app_id = require_app_or_user(principal)
        async with self._database.tenant(app_id) as uow:
            found = await store.find_aggregation(uow, app_id, aggregation_id)
        if found is None:
            raise AggregationNotFound
        return found

    async def list_all(self, principal: Principal) -> list[Aggregation]:
        """The app's aggregations, oldest first.

        Raises:
            CallerNotAllowed: neither the app nor a user of it.
        """
        app_id = require_app_or_user(principal)
        async with self._database.tenant(app_id) as uow:
            return await store.list_aggregations(uow, app_id)

    async def delete(self, principal: Principal, aggregation_id: str) -> None:
        """Delete one that no policy in force names.

        Raises:
            AggregationInUse: with the policy.
            AggregationNotFound: the app has none with this id.
            CallerNotAllowed: not the app itself.
        """
        app_id = _require_app(principal)
        async with self._database.tenant(app_id) as uow:
            found = await store.find_aggregation(uow, app_id, aggregation_id, lock=True)
            if found is None:
                raise AggregationNotFound
            user = await store.find_user_of(uow, found)
            if user is not None:
                raise AggregationInUse(f"the policy {user} names it; change the policy first", policy_id=user)
            await store.delete_aggregation(uow, found, self._clock.now())
            self._note(uow, principal, found, "deleted")

    def _note(self, uow: UnitOfWork, principal: Principal, aggregation: Aggregation, action: str) -> None:
        self._audit.append(
            uow,
            AuditEvent(
                app_id=aggregation.app_id,
                subject=aggregation.id,
                actor=principal.label,
                action=f"aggregation.{action}",
                resource=f"aggregation:{aggregation.id}",
                facts={
                    "name": aggregation.name,
                    "document_sha256": hashlib.sha256(canonical(dict(aggregation.document))).hexdigest(),
                },
                correlation_id=current_correlation_id(),
            ),
        )


def _require_app(principal: Principal) -> AppId:
    if principal.kind != "app":
        raise CallerNotAllowed(f"expected the app's own credentials, was {principal.kind}")
    return principal.tenant
