"""Decisions and signatures for the transaction engine: decided when queued, looked at again before every signature."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lockstep.chains.evm import UnsignedTransaction, encode_signed, parse_chain, transaction_hash
from lockstep.custody.authority.guard import use_up
from lockstep.custody.authority.proofs import RecordedProof
from lockstep.custody.errors import DecisionMismatch, DecisionUnknown
from lockstep.custody.execution import Signature, TransactionPayload
from lockstep.custody.seals import Seals
from lockstep.custody.signing import store
from lockstep.custody.signing.cancellations import (
    CANCELLATION,
    check_cancellation,
    check_self_send,
    refuse_cancellation,
    refuse_withdrawal,
    ruling_on_cancellation,
)
from lockstep.custody.signing.execute import SignatureExecutor
from lockstep.custody.signing.limits import Ask, SpendingLimits, Standing
from lockstep.custody.signing.pipeline import wallet_key
from lockstep.custody.signing.policies import PolicyShelf
from lockstep.custody.signing.recorder import DecisionRecord, Recorder, SignatureRecord, decide
from lockstep.custody.signing.rules import (
    check_intent,
    check_standing,
    check_visible,
    draft_of,
    has_changed,
    intent_digest,
    intent_wire,
    rule_on,
)
from lockstep.custody.signing.types import Execution, StoredDecision
from lockstep.custody.signing.views import check_family
from lockstep.custody.types import Decision, Principal, PrincipalKind, SignedTransaction, TransactionIntent, Wallet
from lockstep.custody.view import Method, as_calls, view_draft, view_sent
from lockstep.kit.clock import Clock
from lockstep.kit.database import Database, UnitOfWork
from lockstep.kit.errors import LockstepError
from lockstep.kit.ids import UserId, WalletId, new_id
from lockstep.kit.telemetry import current_correlation_id


@dataclass(frozen=True, slots=True)
class _Checked:
    """A transaction that may be signed now."""

    place: int
    stored: StoredDecision
    transaction: UnsignedTransaction
    execution: Execution


class TransactionSigning:
    """What the engine needs: decisions about intents, signatures under them."""

    def __init__(
        self,
        *,
        database: Database,
        shelf: PolicyShelf,
        limits: SpendingLimits,
        recorder: Recorder,
        seals: Seals,
        executor: SignatureExecutor,
        clock: Clock,
    ) -> None:
        self._database = database
        self._shelf = shelf
        self._limits = limits
        self._recorder = recorder
        self._seals = seals
        self._executor = executor
        self._clock = clock

    async def decide(
        self,
        uow: UnitOfWork,
        principal: Principal,
        wallet: Wallet | WalletId,
        intent: TransactionIntent,
        *,
        replaces: str | None = None,
        is_queued: bool = True,
    ) -> Decision:
        """See `CustodyService.decide_transaction` and `decide_replacement`."""
        wallet_id = wallet.id if isinstance(wallet, Wallet) else wallet
        if principal.tenant != intent.app_id or wallet_id != intent.wallet_id:
            raise DecisionMismatch("the intent names another app or wallet than the caller asks for")
        (found,) = await store.load_authorities(uow, self._seals, intent.app_id, [(wallet_id, principal.session_id)])
        authority = check_visible(principal, found, oversees=replaces is not None)
        if intent.from_address != authority.address:
            raise DecisionMismatch(f"the intent names the sender {intent.from_address}, not the wallet's address")
        check_family(authority, Method.SEND_TRANSACTION)
        policies = await self._shelf.load(uow, [authority])
        view = view_draft(draft_of(intent, parse_chain(intent.chain)), authority.address)
        if replaces is not None and await store.find_decided_method(uow, intent.app_id, replaces) == Method.SEND_CALLS:
            view = as_calls(view)
        now = self._clock.now()
        members = await self._shelf.load_members(uow, principal, authority, view, policies, now)
        ask = Ask(principal, authority, view)
        charges, scales = await self._limits.weigh(uow, ask, policies, now, own=replaces, lock=is_queued)
        readings = scales.readings(charges)
        ruling = rule_on(principal, authority, view, policies, now, members, readings)
        record = DecisionRecord(
            decision=decide(new_id(), principal, authority, str(view.method), ruling, now),
            caller=principal.label,
            chain=intent.chain,
            request_digest=intent_digest(intent),
            intent=intent_wire(intent),
            correlation_id=intent.correlation_id or current_correlation_id(),
            readings=readings,
        )
        if ruling.error is not None:
            # Usually the caller's transaction ends with this refusal; what was denied stays on record all the same.
            uow.after_rollback(lambda: self._record(record))
        await self._recorder.record_decisions(uow, [record])
        if ruling.error is not None:
            raise ruling.error
        await use_up(uow, principal)
        if is_queued:
            if replaces is not None:
                await self._limits.ledger.pass_on(uow, intent.app_id, replaces, record.decision.id)
            scales.reserve(charges, record.decision.id, None)
            await scales.write(uow)
        return record.decision

    async def check_withdrawal(
        self, uow: UnitOfWork, principal: Principal, wallet_id: WalletId, decision_id: str
    ) -> None:
        """See `CustodyService.check_withdrawal`."""
        (found,) = await store.load_authorities(uow, self._seals, principal.tenant, [(wallet_id, principal.session_id)])
        authority = check_visible(principal, found, oversees=True)
        decided_for = await store.find_decided_session(uow, principal.tenant, decision_id)
        refusal = refuse_withdrawal(principal, authority, decided_for, self._clock.now())
        if refusal is not None:
            raise refusal
        await use_up(uow, principal)

    async def decide_cancellation(self, uow: UnitOfWork, principal: Principal, intent: TransactionIntent) -> Decision:
        """See `CustodyService.decide_cancellation`."""
        if principal.tenant != intent.app_id:
            raise DecisionMismatch("the intent names another app than the caller asks for")
        (found,) = await store.load_authorities(
            uow, self._seals, intent.app_id, [(intent.wallet_id, principal.session_id)]
        )
        authority = check_visible(principal, found, oversees=True)
        if intent.from_address != authority.address:
            raise DecisionMismatch(f"the intent names the sender {intent.from_address}, not the wallet's address")
        check_family(authority, Method.SEND_TRANSACTION)
        check_self_send(intent, authority.address)
        now = self._clock.now()
        refusal = refuse_cancellation(principal, authority, now)
        if refusal is not None:
            raise refusal
        record = DecisionRecord(
            decision=decide(
                new_id(), principal, authority, CANCELLATION, ruling_on_cancellation(principal, authority), now
            ),
            caller=principal.label,
            chain=intent.chain,
            request_digest=intent_digest(intent),
            intent=intent_wire(intent),
            correlation_id=intent.correlation_id or current_correlation_id(),
        )
        await self._recorder.record_decisions(uow, [record])
        await use_up(uow, principal)
        return record.decision

    async def sign(self, items: Sequence[tuple[str, UnsignedTransaction]]) -> list[SignedTransaction | LockstepError]:
        """See `CustodyService.sign_transactions`."""
        answers: list[SignedTransaction | LockstepError] = [DecisionUnknown() for _ in items]
        async with self._database.system("sign_transactions") as uow:
            checked = await self._check_all(uow, dict(enumerate(items)), answers)
        if not checked:
            return answers
        signatures = await self._executor.execute([one.execution for one in checked])
        made: dict[int, Signature] = {}
        async with self._database.system("sign_transactions") as uow:
            for one, signature in zip(checked, signatures, strict=True):
                if isinstance(signature, LockstepError):
                    answers[one.place] = signature
                    self._recorder.record_failure(uow, one.stored.decision, one.stored.caller, signature.code)
                else:
                    made[one.place] = signature
            # Stopped, frozen and revoked mean that nothing leaves from then on, however long the signer takes.
            standing = await self._check_all(uow, {place: items[place] for place in made}, answers)
            lapsed = await self._limits.ledger.consume(uow, [one.stored.decision.id for one in standing])
            signed: list[SignatureRecord] = []
            for one in standing:
                if one.stored.decision.id in lapsed:
                    answers[one.place] = DecisionUnknown("its transaction has ended")
                    continue
                signature = made[one.place]
                raw = encode_signed(one.transaction, signature.r, signature.s, signature.y_parity)
                result = SignedTransaction(raw=raw, hash=transaction_hash(raw), digest=one.execution.digest)
                answers[one.place] = result
                facts = {"tx_hash": result.hash.hex(), "nonce": str(one.transaction.nonce)}
                signed.append(SignatureRecord(one.stored.decision, one.stored.caller, result.digest, facts))
            await self._recorder.record_signatures(uow, signed, self._clock.now())
        return answers

    async def _check_all(
        self,
        uow: UnitOfWork,
        items: Mapping[int, tuple[str, UnsignedTransaction]],
        answers: list[SignedTransaction | LockstepError],
    ) -> list[_Checked]:
        """Those of the items, by place, that may be signed now; why the others may not is noted and put in their place."""
        checked: list[_Checked] = []
        stored = await store.load_decisions(uow, self._seals, [decision_id for decision_id, _ in items.values()])
        changed = [one.authority for one in stored.values() if has_changed(one.authority, one.decision)]
        policies = await self._shelf.load(uow, changed)
        refusals: dict[int, LockstepError] = {}
        standing: dict[int, Standing] = {}
        for place, (decision_id, transaction) in items.items():
            found = stored.get(decision_id)
            if found is None:
                continue
            try:
                ask = self._check(found, transaction)
            except LockstepError as error:
                refusals[place] = error
                continue
            if ask is not None:
                standing[place] = Standing(found.decision, ask, None)
        again = await self._limits.decide_again(uow, list(standing.values()), policies, self._clock.now())
        refusals |= {place: refusal for place, refusal in zip(standing, again, strict=True) if refusal is not None}
        for place, (decision_id, transaction) in items.items():
            found = stored.get(decision_id)
            if found is None:
                continue
            if place in refusals:
                answers[place] = refusals[place]
                self._recorder.record_failure(uow, found.decision, found.caller, refusals[place].code)
                continue
            checked.append(_Checked(place, found, transaction, _execution(found, transaction)))
        return checked

    async def _record(self, record: DecisionRecord) -> None:
        async with self._database.tenant(record.decision.app_id) as uow:
            await self._recorder.record_decisions(uow, [record])

    def _check(self, stored: StoredDecision, transaction: UnsignedTransaction) -> Ask | None:
        """Look again at everything that may have changed since the decision; what the policies are to be asked about, if
        they are others by now.

        Raises:
            LockstepError: why it may not be signed any more.
        """
        authority = stored.authority
        check_intent(stored.intent, transaction)
        principal = _principal_of(stored)
        if stored.decision.method == CANCELLATION:
            check_cancellation(transaction, authority.address)
            refusal = refuse_cancellation(principal, authority, self._clock.now())
        else:
            refusal = check_standing(principal, authority, self._clock.now())
        if refusal is not None:
            raise refusal
        if stored.decision.method == CANCELLATION or not has_changed(authority, stored.decision):
            return None
        return Ask(principal, authority, view_sent(transaction, authority.address, Method(stored.decision.method)))


def _execution(stored: StoredDecision, transaction: UnsignedTransaction) -> Execution:
    payload = TransactionPayload(transaction)
    return Execution(
        decision_id=stored.decision.id,
        key=wallet_key(stored.authority),
        payload=payload,
        digest=payload.digest(),
        auth_share=stored.authority.auth_share,
        revisions=stored.authority.revisions,
    )


def _principal_of(stored: StoredDecision) -> Principal:
    """Who the decision was made for."""
    kind, _, name = stored.caller.partition(":")
    kinds: dict[str, PrincipalKind] = {"app": "app", "user": "user", "session": "session"}
    decision = stored.decision
    if decision.method == CANCELLATION:
        kinds["module"] = "module"
    if kind not in kinds:
        raise DecisionUnknown(f"decisions are made for apps, users and sessions, this one for {kind}")
    return Principal(
        kind=kinds[kind],
        app_id=decision.app_id,
        user_id=UserId(name) if kind == "user" else None,
        wallet_id=decision.wallet_id if kind == "session" else None,
        session_id=decision.session_id,
        name=name if kind == "module" else None,
        proof=RecordedProof(decision.authorized_by),
    )
