"""Custody as other modules and the API see it: wallets and their policies, previews, signatures, the audit log.

Signs; sends through the `Sender` port, which the transaction engine implements. The engine in turn needs decisions and
signatures from here, so the composition root makes this service first and then connects the engine to it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import psycopg
import structlog

from lockstep.chains.cardano import Network
from lockstep.chains.evm import UnsignedTransaction
from lockstep.custody.access import store as access_store
from lockstep.custody.access.authenticator import Authenticator
from lockstep.custody.accounts import store as account_store
from lockstep.custody.audit import AuditLog, Entry
from lockstep.custody.audit.store import list_entries
from lockstep.custody.authority import store as authority_store
from lockstep.custody.errors import CallerNotAllowed
from lockstep.custody.execution import AuthorizationIssuer, Executor
from lockstep.custody.idempotency import Claim, IdempotencyStore, Outcome
from lockstep.custody.policies import PolicyService
from lockstep.custody.ports import NonceLedger, Sender
from lockstep.custody.registry.service import WalletRegistry
from lockstep.custody.seals import Seals
from lockstep.custody.sessions import SessionService
from lockstep.custody.signing import store as signing_store
from lockstep.custody.signing.evaluation import Evaluation, Evaluator
from lockstep.custody.signing.execute import SignatureExecutor
from lockstep.custody.signing.limits import SpendingLimits
from lockstep.custody.signing.pipeline import SigningPipeline
from lockstep.custody.signing.policies import PolicyShelf
from lockstep.custody.signing.preview import Preview, Previewer
from lockstep.custody.signing.recorder import Recorder
from lockstep.custody.signing.request_box import REQUESTS_KEPT, RequestBox
from lockstep.custody.signing.transactions import TransactionSigning
from lockstep.custody.signing.wallet_limits import WalletLimit, WalletLimits
from lockstep.custody.types import Decision, Principal, SignedTransaction, TransactionIntent, Wallet
from lockstep.custody.view import RpcRequest, WordFacts, parse_raw_sign, parse_rpc
from lockstep.kit.clock import Clock, pause
from lockstep.kit.database import Database, UnitOfWork
from lockstep.kit.errors import LockstepError
from lockstep.kit.ids import AppId, WalletId
from lockstep.kit.paging import Page, decode_cursor, page_of

log = structlog.get_logger(__name__)


class CustodyService(WalletRegistry, PolicyService, SessionService):
    """Everything that custody offers."""

    def __init__(
        self,
        *,
        database: Database,
        executor: Executor,
        issuer: AuthorizationIssuer,
        audit: AuditLog,
        seals: Seals,
        authenticator: Authenticator,
        idempotency: IdempotencyStore,
        requests: RequestBox,
        clock: Clock,
        word_facts: WordFacts,
        modules: frozenset[str] = frozenset({"coordinator"}),
        cardano_network: Network = "testnet",
    ) -> None:
        """
        Args:
            requests: seals what is kept of the requests that are signed at once.
            cardano_network: whose addresses new Cardano wallets get.
            word_facts: names of chains, tokens and contracts, for previews.
            modules: names to which session signers may be granted without a token.
        """
        super().__init__(
            database=database,
            executor=executor,
            issuer=issuer,
            audit=audit,
            seals=seals,
            authenticator=authenticator,
            clock=clock,
            modules=modules,
        )
        self.idempotency = idempotency
        self._cardano_network = cardano_network
        self._word_facts = word_facts
        self._shelf = PolicyShelf(seals)
        self._limits = SpendingLimits(seals, self._shelf)
        self._recorder = Recorder(audit, seals, requests)
        self._signatures = SignatureExecutor(executor, issuer)
        self._transactions = TransactionSigning(
            database=database,
            shelf=self._shelf,
            limits=self._limits,
            recorder=self._recorder,
            seals=seals,
            executor=self._signatures,
            clock=clock,
        )
        self._wallet_limits = WalletLimits(database, self._shelf, self._limits, seals, clock)
        self._connected: tuple[Previewer, SigningPipeline, Evaluator] | None = None

    def connect(self, sender: Sender, ledger: NonceLedger) -> None:
        """Connect the engine that sends; called once, before the first request."""
        previewer = Previewer(
            self._database, self._shelf, self._limits, self._seals, sender, self._clock, self._word_facts
        )
        pipeline = SigningPipeline(
            database=self._database,
            shelf=self._shelf,
            limits=self._limits,
            recorder=self._recorder,
            idempotency=self.idempotency,
            executor=self._signatures,
            previewer=previewer,
            seals=self._seals,
            sender=sender,
            ledger=ledger,
            clock=self._clock,
        )
        evaluator = Evaluator(self._database, self._limits, self._seals, self._shelf.sets, sender, self._clock)
        self._connected = previewer, pipeline, evaluator

    async def preview(self, principal: Principal, wallet_id: str, request: RpcRequest | dict[str, Any]) -> Preview:
        """Show what a request would do, what the policies say and what it would cost; signs and sends nothing.

        Args:
            request: parsed, or the JSON body of the route.

        Raises:
            WalletNotFound: there is none for this caller.
            RpcInvalid, MethodNotOffered, WrongSender, MalformedTransaction, MalformedTypedData: the request does not
                hold; see `parse_rpc`.
            Retry: the chain cannot be asked at the moment.
        """
        return await self._engine()[0].preview(principal, WalletId(wallet_id), _parsed(request))

    async def list_wallet_limits(self, principal: Principal, wallet_id: str) -> list[WalletLimit]:
        """How the limits of a wallet stand for this caller; uses nothing of them.

        Raises:
            WalletNotFound: there is none for this caller.
        """
        return await self._wallet_limits.list_limits(principal, WalletId(wallet_id))

    async def evaluate_policy(
        self,
        principal: Principal,
        policy_id: str,
        wallet_id: str,
        request: RpcRequest | dict[str, Any],
        document: object | None = None,
    ) -> Evaluation:
        """What one policy says about a request, and why, rule by rule; signs, stores and sends nothing.

        Args:
            document: proposed in place of the one in force.

        Raises:
            PolicyNotFound, WalletNotFound: there is none for this caller. PolicyInvalid: the proposed document.
            RpcInvalid, MethodNotOffered, WrongSender, MalformedTransaction, MalformedTypedData: the request does not hold.
        """
        policy = await self.compiled_policy(principal, policy_id, document)
        return await self._engine()[2].evaluate(principal, WalletId(wallet_id), _parsed(request), policy)

    async def rpc(
        self, principal: Principal, wallet_id: str, request: RpcRequest | dict[str, Any], claim: Claim
    ) -> Outcome:
        """Sign or send, once per idempotency key; see `SigningPipeline.rpc`.

        Returns:
            The answer ``{"method", "data"}``; a replayed one may also be the problem of a refusal.
        """
        body = request if isinstance(request, dict) else None
        return await self._engine()[1].rpc(principal, WalletId(wallet_id), _parsed(request), claim, body)

    async def raw_sign(self, principal: Principal, wallet_id: str, body: dict[str, Any], claim: Claim) -> Outcome:
        """Sign a hash, or bytes under a hash function, on the road of `secp256k1_sign` and under its rules.

        Args:
            body: of the route `raw_sign`.
        Returns:
            The answer ``{"method": "raw_sign", "data": {"encoding", "signature"}}``; see `rpc`.
        """
        return await self._engine()[1].rpc(principal, WalletId(wallet_id), parse_raw_sign(body), claim)

    async def decide_transaction(
        self,
        uow: UnitOfWork,
        principal: Principal,
        wallet: Wallet | WalletId,
        intent: TransactionIntent,
        *,
        is_queued: bool = True,
    ) -> Decision:
        """Decide on a transaction that is to be queued: row and audit entry are written in the caller's transaction, and
        what it uses of limits, until it is signed or `release_decisions` gives it back.

        Policies see what is given: a rule about a ceiling that the intent leaves open cannot allow.

        Args:
            is_queued: False where nothing follows; then nothing of a limit is used.

        Raises:
            SigningDenied, OwnerRequired, CallerNotAllowed: with the reason; the denial is recorded in a transaction of
                its own, because the caller's usually ends with it.
            WalletNotFound: there is none for this caller.
            DecisionMismatch: app, wallet or sender of the intent are not those of the caller.
        """
        return await self._transactions.decide(uow, principal, wallet, intent, is_queued=is_queued)

    async def release_decisions(self, uow: UnitOfWork, decision_ids: Sequence[str]) -> None:
        """Give back what decisions use of limits whose transactions ended unsigned. Nothing is signed under them any more;
        what was signed stays used."""
        await self._limits.ledger.release(uow, decision_ids)

    async def decide_replacement(
        self,
        uow: UnitOfWork,
        principal: Principal,
        wallet: Wallet | WalletId,
        intent: TransactionIntent,
        *,
        replaces: str,
    ) -> Decision:
        """Decide on other ceilings for a transaction that was decided on: as `decide_transaction`, and whoever oversees the
        app may have it for a user's wallet, too. The caller has made sure that nothing else of it differs.

        Args:
            replaces: the earlier decision: it is asked for with the same method, and what it uses of limits passes on.
        """
        return await self._transactions.decide(uow, principal, wallet, intent, replaces=replaces)

    async def check_withdrawal(
        self, uow: UnitOfWork, principal: Principal, wallet_id: WalletId, decision_id: str
    ) -> None:
        """Whether a caller may take back a transaction that was decided on under this id. Asks for no signature, so a
        frozen wallet is no reason to refuse.

        Raises:
            WalletNotFound: there is none for this caller.
            OwnerRequired, CallerNotAllowed, SigningDenied: it may not; a session signer takes back only what it sent.
        """
        await self._transactions.check_withdrawal(uow, principal, wallet_id, decision_id)

    async def decide_cancellation(self, uow: UnitOfWork, principal: Principal, intent: TransactionIntent) -> Decision:
        """Decide on a self-send that uses up a nonce. No policy is asked: it moves nothing, inside the ceilings of its
        fees, which the intent must name. The module ``engine`` may ask for one as well.

        Raises:
            WalletNotFound: there is none for this caller.
            OwnerRequired, CallerNotAllowed, SigningDenied: the caller may not send from this wallet, or nobody may.
            DecisionMismatch: the intent could move something, or names another app or sender.
        """
        return await self._transactions.decide_cancellation(uow, principal, intent)

    async def sign_transactions(
        self, items: Sequence[tuple[str, UnsignedTransaction]]
    ) -> list[SignedTransaction | LockstepError]:
        """Sign transactions under earlier decisions, in the order of the items; never raises for one of them.

        Looked at again now: app and wallet are active, the session signer is active and has not expired, the policies
        are those of the decision (else they are asked again), the transaction is the intent, inside its ceilings.
        The caller has claimed the nonce for these very bytes before. Two database transactions for all of them.

        Args:
            items: (decision id, transaction) pairs.
        Returns:
            Per item the signed transaction or why not: DecisionUnknown, DecisionMismatch, FeeAboveCeiling, the refusals
            of `decide_transaction`, or what the signer says (Retry when it is away).
        """
        return await self._transactions.sign(items)

    async def list_released(self, uow: UnitOfWork, items: Sequence[tuple[AppId, str, bytes]]) -> set[bytes]:
        """Those digests whose signature was released, whether or not it reached anybody.

        Args:
            items: (app, decision id, digest).
        """
        return await signing_store.list_released(uow, items)

    async def list_audit_entries(
        self, principal: Principal, *, resource: str | None = None, cursor: str | None = None, limit: int = 50
    ) -> Page[Entry]:
        """Entries of the app's audit log, newest first.

        Raises:
            CallerNotAllowed: neither the app nor one of its operators and admins.
        """
        if not principal.oversees_app:
            raise CallerNotAllowed("only the app, its operators and its admins read its audit log")
        before: tuple[int, int] | None = None
        if cursor is not None:
            seq, shard = decode_cursor(cursor, int, int)
            before = int(seq), int(shard)
        async with self._database.tenant(principal.tenant) as uow:
            entries = await list_entries(uow, principal.tenant, resource, before, limit + 1)
        return page_of(entries, limit, lambda entry: (entry.seq, entry.shard))

    async def purge_expired(self) -> int:
        """Forget what has expired: idempotency keys, previews, signed and old requests, logins and tokens; and give back what
        decisions hold of limits whose process has died. Returns how many."""
        now = self._clock.now()
        async with self._database.system("purge") as uow:
            return (
                await self.idempotency.purge(uow, now)
                + await signing_store.delete_expired_previews(uow, now)
                + await signing_store.delete_old_requests(uow, now - REQUESTS_KEPT)
                + await access_store.delete_expired_external_sessions(uow, now)
                + await authority_store.delete_expired_requests(uow, now)
                + await account_store.purge(uow, now)
                + await self._limits.ledger.sweep(uow, now)
            )

    async def run_housekeeping(self, stop: asyncio.Event, every_seconds: float = 60.0) -> None:
        """Purge until `stop` is set. Any number of processes may do it."""
        while not stop.is_set():
            try:
                await self.purge_expired()
            except (LockstepError, psycopg.Error) as error:
                log.warning("custody_purge_failed", reason=type(error).__name__)
            await pause(stop, every_seconds)

    def _engine(self) -> tuple[Previewer, SigningPipeline, Evaluator]:
        if self._connected is None:
            raise RuntimeError("the composition root must connect the transaction engine before the first request")
        return self._connected


def _parsed(request: RpcRequest | dict[str, Any]) -> RpcRequest:
    return parse_rpc(request) if isinstance(request, dict) else request
