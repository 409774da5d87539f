"""Orchestrates trials: loads what they work on, and thinks in a thread, so that nobody else waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from lockstep.chains.evm import Address
from lockstep.custody.condition_sets import SetShelf
from lockstep.custody.policies import PolicyService
from lockstep.custody.policy import Policy as PolicyDocument
from lockstep.custody.policy import PolicyInvalid, SystemFacts, load_policy
from lockstep.custody.policy.proofs import Finding
from lockstep.custody.policy.types import ANY_METHOD
from lockstep.custody.seals import Seals
from lockstep.custody.signing.request_box import RequestBox
from lockstep.custody.signing.store import load_documents
from lockstep.custody.trials import rules, store
from lockstep.custody.trials.proofs import Claim, Prover
from lockstep.custody.trials.types import PastRequest, Said, Shadow
from lockstep.custody.types import Principal
from lockstep.custody.view import Fault, Method
from lockstep.kit.database import Database, Row

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class TrialService:
    """Tries documents of policies."""

    def __init__(self, database: Database, policies: PolicyService, requests: RequestBox, seals: Seals) -> None:
        self._database, self._policies, self._requests, self._seals = database, policies, requests, seals
        self._sets = SetShelf(seals)
        self._prover = Prover(database, self._sets)

    async def shadow(self, principal: Principal, policy_id: str, document: object, last: int) -> Shadow:
        """What a document would have decided, in the place of the policy's own, about the last requests that the policy
        took part in. The other policies are asked as they were then, condition sets as they are now.

        Args:
            last: how many requests, 1 to 1,000; of the wallets that use the policy, for a user of its own ones.
        Raises:
            PolicyNotFound: there is none for this caller. PolicyInvalid: the document.
        """
        proposed = await self._policies.compiled_policy(principal, policy_id, document)
        app_id = principal.tenant
        async with self._database.tenant(app_id) as uow:
            rows = await store.list_past(uow, app_id, policy_id, owner=principal.user_id, last=last)
            past = [self._past(app_id, row) for row in rows]
            keys = {key for one in past for key in one.revisions.items() if key[0] != policy_id}
            # Among the revisions stand those of condition sets; they have no document.
            documents = await load_documents(uow, self._seals, [app_id], sorted(keys))
        others = {key: load_policy(document, *key) for key, document in documents.items()}
        asked, asked_of_sets = await asyncio.to_thread(rules.prepare, past, proposed, others)
        async with self._database.tenant(app_id) as uow:
            members = await self._sets.find_members(uow, app_id, asked_of_sets)
        return await asyncio.to_thread(rules.compare, past, asked, members)

    async def prove(
        self,
        principal: Principal,
        policy_id: str,
        conditions: Sequence[object],
        *,
        method: str = ANY_METHOD,
        document: object | None = None,
        seconds: int = 5,
    ) -> Finding:
        """Whether a request that meets all of these conditions can ever be allowed by the policy, whoever asks and from
        whichever wallet: never, or an example, or not decided.

        Args:
            conditions: as in a rule for the method; none: any request.
            document: in the place of the one in force.
            seconds: most time for the solver.
        Raises:
            PolicyNotFound: there is none for this caller. PolicyInvalid: the document or the conditions.
            ProofsUnavailable, ProofsBusy: see `Prover`.
        """
        policy = await self._policies.stored_document(principal, policy_id)
        if document is not None:
            policy = await self._policies.checked_document(principal, document)
        question = await self._question(principal, method, conditions)
        methods = list(Method) if method == ANY_METHOD else [method]
        claim = Claim(methods=methods, allowed_by=(policy, question))
        return await self._prover.prove(principal.tenant, claim, seconds)

    async def compare(
        self,
        principal: Principal,
        policy_id: str,
        *,
        before: int | None = None,
        after: int | None = None,
        document: object | None = None,
        seconds: int = 5,
    ) -> Finding:
        """Whether a later document allows anything at all that an earlier one did not: never, or an example, or not decided.

        Args:
            before, after: revisions; None: the one in force.
            document: in the place of `after`.
        Raises:
            PolicyNotFound: there is none for this caller, or no such revision. PolicyInvalid: the document.
            ProofsUnavailable, ProofsBusy: see `Prover`.
        """
        old = await self._policies.stored_document(principal, policy_id, before)
        if document is None:
            new = await self._policies.stored_document(principal, policy_id, after)
        else:
            new = await self._policies.checked_document(principal, document)
        claim = Claim(methods=list(Method), allowed_by=(new,), denied_by=(old,))
        return await self._prover.prove(principal.tenant, claim, seconds)

    async def _question(self, principal: Principal, method: str, conditions: Sequence[object]) -> PolicyDocument:
        """The policy that allows exactly what meets the conditions."""
        rule: dict[str, object] = {
            "id": "question",
            "method": method,
            "action": "ALLOW",
            "conditions": list(conditions),
        }
        if not conditions:
            rule["unconditional"] = True
        document = {"version": "1.0", "name": "question", "chain_type": "ethereum", "rules": [rule]}
        try:
            return await self._policies.checked_document(principal, document)
        except PolicyInvalid as error:
            faults = [Fault(fault.path.removeprefix("rules[0]."), fault.message) for fault in error.faults]
            raise PolicyInvalid(faults) from error

    def _past(self, app_id: str, row: Row) -> PastRequest:
        kind, _, name = row["caller"].partition(":")
        sealed = row["sealed"]
        return PastRequest(
            decision_id=row["decision_id"],
            wallet_id=row["wallet_id"],
            address=Address(row["address"]),
            method=row["method"],
            decided_at=row["decided_at"],
            system=SystemFacts(
                current_unix_timestamp=int((row["decided_at"] - _EPOCH).total_seconds()),
                wallet_id=row["wallet_id"],
                app_id=app_id,
                user_id=name if kind == "user" else None,
                session_id=row["session_id"],
            ),
            said=Said(
                allowed=row["allowed"],
                reason_code=row["reason_code"],
                reason=row["reason"],
                policy_id=row["policy_id"],
                rule_id=row["rule_id"],
            ),
            revisions=row["policy_revisions"],
            intent=row["intent"],
            body=None if sealed is None else self._requests.open(app_id, row["decision_id"], bytes(sealed)),
        )
