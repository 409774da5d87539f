"""The one road to a signature: authorise, view, policy, decision and audit, authorization, signer, verification, audit.

The RPC methods that sign at once travel it in batches: two short transactions per signature, both shared with what else
goes on for the app at that moment; none is open while the signer works, so the second one looks again whether the
signature may be released. What is sent is decided and queued in one transaction and signed later (`transactions.py`), on
the same road.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lockstep.custody.errors import DecisionLapsed, IdempotencyInProgress, IdempotencyKeyReused, PreviewOutdated
from lockstep.custody.execution import WalletKey
from lockstep.custody.idempotency import Claim, IdempotencyStore, Outcome
from lockstep.custody.idempotency.types import terminal_outcome
from lockstep.custody.limits import DEAD_AFTER, Charge, Scales
from lockstep.custody.policy import CompiledPolicy
from lockstep.custody.ports import NonceLedger, Sender
from lockstep.custody.seals import Seals
from lockstep.custody.signing import store
from lockstep.custody.signing.batch import Batcher
from lockstep.custody.signing.execute import SignatureExecutor
from lockstep.custody.signing.limits import Ask, SpendingLimits, Standing
from lockstep.custody.signing.policies import PolicyShelf
from lockstep.custody.signing.preview import Previewer, ShownTerms, intent_of, with_type
from lockstep.custody.signing.recorder import DecisionRecord, Recorder, SignatureRecord, decide
from lockstep.custody.signing.requests import answer_of, nonces_of, payload_of
from lockstep.custody.signing.rules import (
    PolicyKey,
    check_proof,
    check_standing,
    check_visible,
    has_changed,
    intent_digest,
    intent_wire,
    rule_on,
)
from lockstep.custody.signing.types import Authority, Execution
from lockstep.custody.signing.views import view_of
from lockstep.custody.types import Decision, Principal
from lockstep.custody.view import (
    RequestView,
    RpcRequest,
    SendTransaction,
    SignAuthorization,
    SignTransaction,
)
from lockstep.kit.clock import Clock
from lockstep.kit.database import Database, UnitOfWork
from lockstep.kit.errors import LockstepError, Refuse, Retry
from lockstep.kit.ids import AppId, CorrelationId, WalletId, new_id
from lockstep.kit.telemetry import current_correlation_id


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """A request that is signed at once."""

    principal: Principal
    wallet_id: WalletId
    request: RpcRequest
    claim: Claim
    decision_id: str
    correlation_id: CorrelationId
    body: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Authorised:
    """A job that was decided on and recorded as allowed."""

    job: _Job
    decision: Decision
    execution: Execution
    view: RequestView
    is_limited: bool
    """Whether it uses anything of a limit."""


class SigningPipeline:
    """Carries out RPC requests."""

    def __init__(
        self,
        *,
        database: Database,
        shelf: PolicyShelf,
        limits: SpendingLimits,
        recorder: Recorder,
        idempotency: IdempotencyStore,
        executor: SignatureExecutor,
        previewer: Previewer,
        seals: Seals,
        sender: Sender,
        ledger: NonceLedger,
        clock: Clock,
    ) -> None:
        self._database = database
        self._shelf = shelf
        self._limits = limits
        self._recorder = recorder
        self._idempotency = idempotency
        self._executor = executor
        self._previewer = previewer
        self._seals = seals
        self._sender = sender
        self._ledger = ledger
        self._clock = clock
        self._decisions: Batcher[_Job, _Authorised | Outcome] = Batcher(self._decide_batch)
        # The ledger asks a node: a slow one must not hold up messages that share a batch.
        self._nonce_decisions: Batcher[_Job, _Authorised | Outcome] = Batcher(self._decide_batch, max_batch=1, lanes=8)
        self._signatures: Batcher[_Authorised, Outcome] = Batcher(self._sign_batch)

    async def rpc(
        self,
        principal: Principal,
        wallet_id: WalletId,
        request: RpcRequest,
        claim: Claim,
        body: Mapping[str, Any] | None = None,
    ) -> Outcome:
        """Sign or send, once per idempotency key.

        Args:
            body: what the request was read from; kept, sealed, for trying other policies on it.
        Returns:
            The answer ``{"method", "data"}``; a replayed one may also be the problem of a refusal.

        Raises:
            WalletNotFound: there is none for this caller.
            SigningDenied, OwnerRequired, CallerNotAllowed: recorded as a denied decision.
            PreviewOutdated: what the named preview showed has changed.
            IdempotencyKeyReused, IdempotencyInProgress: see `IdempotencyStore`.
            LockstepError: what view, ledger, engine or signer say.
        """
        if isinstance(request, SendTransaction):
            return await self._send(principal, wallet_id, request, claim)
        job = _Job(
            principal=principal,
            wallet_id=wallet_id,
            request=request,
            claim=claim,
            decision_id=new_id(),
            correlation_id=current_correlation_id(),
            body=body,
        )
        takes_nonces = isinstance(request, SignTransaction | SignAuthorization)
        decisions = self._nonce_decisions if takes_nonces else self._decisions
        decided = await decisions.submit(principal.tenant, job)
        return decided if isinstance(decided, Outcome) else await self._signatures.submit(principal.tenant, decided)

    async def _decide_batch(self, key: str, jobs: Sequence[_Job]) -> list[_Authorised | Outcome | Exception]:
        app_id = AppId(key)
        claims, attempts = [job.claim for job in jobs], [job.decision_id for job in jobs]
        async with self._database.tenant(app_id) as uow:
            inserted, authorities = await store.claim_and_load(
                uow,
                self._seals,
                self._idempotency.insert_params(app_id, claims, attempts),
                app_id,
                [(job.wallet_id, job.principal.session_id) for job in jobs],
            )
            claimed = await self._idempotency.sort_out(uow, app_id, claims, attempts, inserted)
            policies, now = await self._shelf.load(uow, authorities), self._clock.now()
            asks = [
                earlier if earlier is not None else _ask_of(job, authority)
                for job, authority, earlier in zip(jobs, authorities, claimed, strict=True)
            ]
            live = [ask for ask in asks if isinstance(ask, Ask)]
            charges = await self._limits.charges(uow, live, policies, now)
            scales = await self._limits.ledger.read(uow, app_id, [charge for asked in charges for charge in asked], now)
            in_order = iter(charges)
            results: list[_Authorised | Outcome | Exception] = []
            records: list[DecisionRecord] = []
            finished: list[tuple[Claim, str, Outcome | None]] = []
            for job, authority, ask, earlier in zip(jobs, authorities, asks, claimed, strict=True):
                if earlier is not None:
                    results.append(_replayed(job.principal, authority, earlier))
                    continue
                try:
                    if isinstance(ask, LockstepError):
                        raise ask
                    assert isinstance(ask, Ask), "an answer of an earlier attempt is taken above"
                    result, record = await self._decide(uow, job, ask, policies, scales, next(in_order))
                except LockstepError as error:
                    results.append(error)
                    finished.append((job.claim, job.decision_id, terminal_outcome(error)))
                    continue
                results.append(result)
                records.append(record)
                if isinstance(result, LockstepError):
                    finished.append((job.claim, job.decision_id, terminal_outcome(result)))
            async with uow.connection.pipeline():
                await self._recorder.record_decisions(uow, records)
                await scales.write(uow)
            await self._idempotency.finish_many(uow, app_id, finished)
        return results

    async def _decide(
        self,
        uow: UnitOfWork,
        job: _Job,
        ask: Ask,
        policies: Mapping[PolicyKey, CompiledPolicy],
        scales: Scales,
        charges: Sequence[Charge],
    ) -> tuple[_Authorised | LockstepError, DecisionRecord]:
        """Decide on one job; what it raises leaves no decision behind, and uses nothing of a limit."""
        authority, view = ask.authority, ask.view
        assert view.digest is not None, "only transactions to be sent have open numbers"
        now = self._clock.now()
        members = await self._shelf.load_members(uow, job.principal, authority, view, policies, now)
        readings = scales.readings(charges)
        ruling = rule_on(job.principal, authority, view, policies, now, members, readings)
        shown = job.request.preview_digest
        if ruling.allowed and shown is not None and shown != self._previewer.digest(view, ruling, None):
            raise PreviewOutdated
        claims = nonces_of(job.request, authority.address) if ruling.allowed else ()
        if claims:
            async with uow.savepoint():
                for one in claims:
                    await self._ledger.claim(uow, one.chain, authority.address, one.nonce, one.digest)
        decision = decide(job.decision_id, job.principal, authority, str(view.method), ruling, now)
        record = DecisionRecord(
            decision=decision,
            caller=job.principal.label,
            chain=view.chain,
            request_digest=view.digest,
            request=job.body,
            correlation_id=job.correlation_id,
            readings=readings,
        )
        if ruling.error is not None:
            return ruling.error, record
        is_limited = scales.reserve(charges, decision.id, now + DEAD_AFTER)
        execution = Execution(
            decision_id=decision.id,
            key=wallet_key(authority),
            payload=payload_of(job.request, authority),
            digest=view.digest,
            auth_share=authority.auth_share,
            revisions=ruling.revisions,
            public_key=authority.public_key,
        )
        return _Authorised(job=job, decision=decision, execution=execution, view=view, is_limited=is_limited), record

    async def _sign_batch(self, key: str, batch: Sequence[_Authorised]) -> list[Outcome | Exception]:
        app_id = AppId(key)
        answers = await self._executor.execute([one.execution for one in batch])
        results: list[Outcome | LockstepError] = [
            answer
            if isinstance(answer, LockstepError)
            else Outcome(200, answer_of(one.job.request, answer, one.execution))
            for one, answer in zip(batch, answers, strict=True)
        ]
        async with self._database.tenant(app_id) as uow:
            results = await self._withhold(uow, app_id, batch, results)
            held = await self._idempotency.finish_many(
                uow,
                app_id,
                [
                    (one.job.claim, one.job.decision_id, result if isinstance(result, Outcome) else None)
                    for one, result in zip(batch, results, strict=True)
                ],
            )
            signed: list[SignatureRecord] = []
            for one, result in zip(batch, results, strict=True):
                if isinstance(result, LockstepError):
                    self._recorder.record_failure(uow, one.decision, one.job.principal.label, result.code)
                else:
                    signed.append(SignatureRecord(one.decision, one.job.principal.label, one.execution.digest))
            await self._recorder.record_signatures(uow, signed, self._clock.now())
            await self._limits.ledger.release(
                uow,
                [
                    one.decision.id
                    for one, result in zip(batch, results, strict=True)
                    if isinstance(result, LockstepError)
                ],
            )
        # An attempt that another one took over releases nothing: the other one answers.
        return [
            result if one.job.decision_id in held else IdempotencyInProgress()
            for one, result in zip(batch, results, strict=True)
        ]

    async def _withhold(
        self, uow: UnitOfWork, app_id: AppId, batch: Sequence[_Authorised], results: Sequence[Outcome | LockstepError]
    ) -> list[Outcome | LockstepError]:
        """The results, without the signatures whose authority ended while the signer worked: frozen and revoked mean that
        nothing leaves from then on, however long the signer takes."""
        found = await store.load_authorities(
            uow, self._seals, app_id, [(one.job.wallet_id, one.job.principal.session_id) for one in batch]
        )
        now = [check_visible(one.job.principal, authority) for one, authority in zip(batch, found, strict=True)]
        changed = [authority for one, authority in zip(batch, now, strict=True) if has_changed(authority, one.decision)]
        policies = await self._shelf.load(uow, changed)
        moment = self._clock.now()
        made = [place for place, result in enumerate(results) if isinstance(result, Outcome)]
        kept = list(results)
        for place in made:
            kept[place] = check_standing(batch[place].job.principal, now[place], moment) or kept[place]
        again = [place for place in made if has_changed(now[place], batch[place].decision)]
        standing = [
            Standing(one.decision, Ask(one.job.principal, now[place], one.view), moment + DEAD_AFTER)
            for place, one in ((place, batch[place]) for place in again)
        ]
        refusals = await self._limits.decide_again(uow, standing, policies, moment)
        for place, refusal in zip(again, refusals, strict=True):
            kept[place] = refusal or kept[place]
        limited = [
            batch[place].decision.id
            for place in made
            if isinstance(kept[place], Outcome) and (batch[place].is_limited or place in again)
        ]
        lapsed = await self._limits.ledger.consume(uow, limited)
        return [
            DecisionLapsed() if one.decision.id in lapsed else result for one, result in zip(batch, kept, strict=True)
        ]

    async def _send(self, principal: Principal, wallet_id: WalletId, request: SendTransaction, claim: Claim) -> Outcome:
        terms: ShownTerms | None = None
        if request.preview_digest is not None or len(request.calls) > 1:
            replay = await self._find_replay(principal, wallet_id, claim)
            if replay is not None:
                return replay
        if len(request.calls) > 1:
            await self._previewer.check_batch(principal, wallet_id, request)
        if request.preview_digest is not None:
            request = with_type(request, self._sender)
            terms = await self._previewer.find_terms(principal, wallet_id, request)
            request = terms.apply(request)
        decision_id, correlation_id = new_id(), current_correlation_id()
        denied: LockstepError | None = None
        try:
            async with self._database.tenant(principal.tenant) as uow:
                inserted, authorities = await store.claim_and_load(
                    uow,
                    self._seals,
                    self._idempotency.insert_params(principal.tenant, [claim], [decision_id]),
                    principal.tenant,
                    [(wallet_id, principal.session_id)],
                )
                (earlier,) = await self._idempotency.sort_out(uow, principal.tenant, [claim], [decision_id], inserted)
                if earlier is not None:
                    earlier = _replayed(principal, authorities[0], earlier)
                if isinstance(earlier, LockstepError):
                    raise earlier
                if earlier is not None:
                    return earlier
                authority = check_visible(principal, authorities[0])
                request = with_type(request, self._sender)
                view = view_of(authority, request)
                policies = await self._shelf.load(uow, [authority])
                now = self._clock.now()
                members = await self._shelf.load_members(uow, principal, authority, view, policies, now)
                charges, scales = await self._limits.weigh(uow, Ask(principal, authority, view), policies, now)
                readings = scales.readings(charges)
                ruling = rule_on(principal, authority, view, policies, now, members, readings)
                shown = request.preview_digest
                if ruling.allowed and shown is not None and shown != self._previewer.digest(view, ruling, terms):
                    raise PreviewOutdated
                intent = intent_of(authority, request, key=f"rpc:{decision_id}", correlation_id=correlation_id)
                decision = decide(decision_id, principal, authority, str(view.method), ruling, now)
                record = DecisionRecord(
                    decision=decision,
                    caller=principal.label,
                    chain=intent.chain,
                    request_digest=intent_digest(intent),
                    intent=intent_wire(intent),
                    correlation_id=correlation_id,
                    readings=readings,
                )
                await self._recorder.record_decisions(uow, [record])
                if ruling.error is not None:
                    denied, outcome = ruling.error, terminal_outcome(ruling.error)
                else:
                    scales.reserve(charges, decision.id, None)
                    await scales.write(uow)
                    queued = await self._sender.enqueue(uow, decision, intent)
                    data = {"hash": queued.hash, "caip2": intent.chain, "transaction_id": queued.id}
                    outcome = Outcome(200, {"method": str(request.method), "data": data})
                await self._idempotency.finish_many(uow, principal.tenant, [(claim, decision_id, outcome)])
        except Refuse as error:
            await self._keep_refusal(principal.tenant, claim, error)
            raise
        if denied is not None:
            raise denied
        assert outcome is not None, "what was not denied has an answer"
        return outcome

    async def _find_replay(self, principal: Principal, wallet_id: WalletId, claim: Claim) -> Outcome | None:
        async with self._database.tenant(principal.tenant) as uow:
            earlier = await self._idempotency.find(uow, claim)
            if earlier is None:
                return None
            (found,) = await store.load_authorities(
                uow, self._seals, principal.tenant, [(wallet_id, principal.session_id)]
            )
        answer = _replayed(principal, found, earlier)
        if isinstance(answer, LockstepError):
            raise answer
        return answer

    async def _keep_refusal(self, app_id: AppId, claim: Claim, error: Refuse) -> None:
        """A refusal that undid the transaction is answered the same next time, if it would come out the same."""
        outcome = terminal_outcome(error)
        if outcome is None or isinstance(error, IdempotencyKeyReused):
            return
        try:
            async with self._database.tenant(app_id) as uow:
                attempt, replay = await self._idempotency.begin(uow, claim)
                if replay is None:
                    await self._idempotency.finish(uow, claim, attempt, outcome)
        except (Refuse, Retry):
            return  # another attempt is under way, or the database is away: the refusal itself is the answer


def _replayed(
    principal: Principal, found: Authority | None, earlier: Outcome | LockstepError
) -> Outcome | LockstepError:
    """The answer that a request got earlier, for who could ask for it now: it may hold a signature."""
    if isinstance(earlier, LockstepError) or found is None:
        return earlier
    return check_proof(principal, found) or earlier


def _ask_of(job: _Job, found: Authority | None) -> Ask | LockstepError:
    """The request as it would be signed, or why it cannot be for this caller and wallet."""
    try:
        authority = check_visible(job.principal, found)
        return Ask(job.principal, authority, view_of(authority, job.request))
    except LockstepError as error:
        return error


def wallet_key(authority: Authority) -> WalletKey:
    """The key of a wallet, as the signer names it."""
    return WalletKey(
        app_id=authority.app_id,
        wallet_id=authority.wallet_id,
        address=authority.address,
    )
