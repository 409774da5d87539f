"""A custody service on a real database with the signer's core in this process, and stand-ins for the engine's ports."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from lockstep.chains.evm import Address, TransactionType
from lockstep.custody import (
    AccessService,
    AccountService,
    Anchors,
    AppService,
    AuditLog,
    Authenticator,
    ChainFact,
    CustodyService,
    Decision,
    IdempotencyStore,
    LocalExecutor,
    NewWallet,
    PasswordHashing,
    Policy,
    Principal,
    QueuedTransaction,
    Quote,
    RequestBox,
    ResponseBox,
    Seals,
    SessionTerms,
    TokenVerifier,
    TransactionIntent,
    TrialService,
    UserService,
    Wallet,
    WordFacts,
    claim_for,
)
from lockstep.custody.access.store import find_or_insert_user
from lockstep.custody.execution import NewKey, Signature, SigningRequest
from lockstep.custody.seals import Kind
from lockstep.kit.clock import ManualClock
from lockstep.kit.database import Database, UnitOfWork
from lockstep.kit.errors import Conflict, LockstepError
from lockstep.kit.ids import AppId, WalletId, new_id

CHAIN = "eip155:31337"
ALICE = Address("0x" + "a1" * 20)
BOB = Address("0x" + "b0" * 20)
START = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
ORIGIN = "https://lockstep.example"
GWEI = 10**9

ALLOW_ALL = [
    {"name": "everything", "method": "*", "action": "ALLOW", "conditions": [], "unconditional": True},
]


def pays(to: str, most: int) -> list[dict[str, Any]]:
    """Rules that allow to send at most so much to one address."""
    return [
        {
            "name": "pay",
            "method": "eth_sendTransaction",
            "action": "ALLOW",
            "conditions": [
                {"field_source": "ethereum_transaction", "field": "to", "operator": "eq", "value": to},
                {"field_source": "ethereum_transaction", "field": "value", "operator": "lte", "value": str(most)},
            ],
        }
    ]


def message(text: str = "hello", **more: Any) -> dict[str, Any]:
    return {"method": "personal_sign", "params": {"message": text, "encoding": "utf-8"}, **more}


def send(to: str = BOB, value: int = 1, **more: Any) -> dict[str, Any]:
    return {
        "method": "eth_sendTransaction",
        "caip2": CHAIN,
        "params": {"transaction": {"to": to, "value": str(value)}},
        **more,
    }


def pure(nonce: int = 0, value: int = 1, **more: Any) -> dict[str, Any]:
    transaction = {
        "to": BOB,
        "value": str(value),
        "nonce": nonce,
        "gas_limit": 21_000,
        "max_fee_per_gas": str(2 * GWEI),
        "max_priority_fee_per_gas": str(GWEI),
    }
    return {"method": "eth_signTransaction", "caip2": CHAIN, "params": {"transaction": transaction}, **more}


class NonceTaken(Conflict):
    """The nonce was signed for something else."""

    code = "nonce_taken"


@dataclass
class FakeEngine:
    """Keeps what it was given; quotes what it was told to."""

    quote_now: Quote = field(
        default_factory=lambda: Quote(gas_limit=21_000, max_fee_per_gas=2 * GWEI, max_priority_fee_per_gas=GWEI)
    )
    queued: list[tuple[Decision, TransactionIntent]] = field(default_factory=list)
    refusal: LockstepError | None = None
    type: TransactionType = 2
    batching: set[str] = field(default_factory=set)
    """Accounts that run code which makes calls in a batch."""
    claimed: dict[tuple[str, str, int], bytes] = field(default_factory=dict)

    async def enqueue(self, uow: UnitOfWork, decision: Decision, intent: TransactionIntent) -> QueuedTransaction:
        if self.refusal is not None:
            raise self.refusal
        self.queued.append((decision, intent))
        return QueuedTransaction(id=new_id())

    def transaction_type(self, chain: str) -> TransactionType:
        return self.type

    async def runs_batches(self, chain: str, address: str) -> bool:
        return address in self.batching

    async def quote(self, intent: TransactionIntent) -> Quote:
        return self.quote_now

    async def claim(self, uow: UnitOfWork, chain: str, address: str, nonce: int, digest: bytes) -> None:
        if self.claimed.setdefault((chain, address, nonce), digest) != digest:
            raise NonceTaken


class CountingExecutor:
    """The local executor, counting signatures and failing on command."""

    def __init__(self, inner: LocalExecutor) -> None:
        self._inner = inner
        self.signed: list[SigningRequest] = []
        self.failure: LockstepError | None = None
        self.meanwhile: Callable[[], Awaitable[object]] | None = None
        """What somebody else does while the signer is at work."""
        self.afterwards: Callable[[], Awaitable[object]] | None = None
        """What happens between the signature and whatever is done with it."""

    async def sign_many(self, requests: list[SigningRequest]) -> list[Signature | LockstepError]:
        if self.failure is not None:
            return [self.failure] * len(requests)
        self.signed += requests
        if self.meanwhile is not None:
            await self.meanwhile()
        answers = await self._inner.sign_many(requests)
        if self.afterwards is not None:
            await self.afterwards()
        return answers

    async def generate_keys(
        self, app_id: AppId, wanted: Sequence[tuple[WalletId, bytes]]
    ) -> list[NewKey | LockstepError]:
        if self.failure is not None:
            return [self.failure] * len(wanted)
        keys = await self._inner.generate_keys(app_id, wanted)
        if self.meanwhile is not None:
            await self.meanwhile()
        return keys

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


@dataclass
class World:
    """Everything that a test of custody touches."""

    database: Database
    clock: ManualClock
    engine: FakeEngine
    executor: CountingExecutor
    audit: AuditLog
    audit_key: bytes
    authenticator: Authenticator
    seals: Seals
    access: AccessService
    apps: AppService
    users: UserService
    accounts: AccountService
    custody: CustodyService
    trials: TrialService
    admin: Principal

    async def app(self, name: str = "Alpha") -> Principal:
        app, _ = await self.access.create_app(self.admin, name)
        return Principal(kind="app", app_id=app.id)

    async def user(self, app: Principal, subject: str = "alice") -> Principal:
        """A user as an issuer of the app would bring it."""
        async with self.database.tenant(app.tenant) as uow:
            found, is_new = await find_or_insert_user(uow, new_id(), app.tenant, "i", subject, self.clock.now())
            if is_new:
                await self.seals.add(uow, app.tenant, Kind.USER, {found.id: found.content()})
        return Principal(kind="user", app_id=app.app_id, user_id=found.id, role=found.role)

    async def policy(self, principal: Principal, rules: list[dict[str, Any]] | None = None, name: str = "p") -> Policy:
        document = {"version": "1.0", "name": name, "chain_type": "ethereum", "rules": rules or ALLOW_ALL}
        async with self.database.tenant(principal.tenant) as uow:
            return await self.custody.create_policy(uow, principal, document)

    async def wallet(
        self, principal: Principal, rules: list[dict[str, Any]] | None = None, owner: str | None = None
    ) -> Wallet:
        policy = await self.policy(principal, rules)
        return await self.custody.create_wallet(principal, NewWallet(policy_ids=(policy.id,), owner_user_id=owner))

    async def session(self, principal: Principal, wallet: Wallet, terms: SessionTerms) -> Principal:
        session, _ = await self.custody.create_session_signer(principal, wallet.id, terms)
        return Principal(kind="session", app_id=wallet.app_id, wallet_id=wallet.id, session_id=session.id)

    async def rpc(
        self, principal: Principal, wallet: Wallet, body: dict[str, Any], key: str | None = None
    ) -> dict[str, Any]:
        claim = claim_for(principal, "POST", f"/v1/wallets/{wallet.id}/rpc", key or new_id(), body)
        return (await self.custody.rpc(principal, wallet.id, body, claim)).body

    async def rows(self, query: str, *params: object) -> list[dict[str, Any]]:
        async with self.database.system("test") as uow:
            return await uow.fetch(query, params)  # type: ignore[arg-type]  # queries of tests are literals


def build(database: Database) -> World:
    clock = ManualClock(START)
    inner, issuer = LocalExecutor.ephemeral(clock)
    executor = CountingExecutor(inner)
    audit_key = secrets.token_bytes(32)
    audit = AuditLog(audit_key, clock)
    seals = Seals(secrets.token_bytes(32), Anchors(secrets.token_bytes(32)))
    authenticator = Authenticator(database, TokenVerifier(clock), seals, clock)
    access = AccessService(database, audit, authenticator, seals, clock, origins=[ORIGIN])
    engine = FakeEngine()
    requests = RequestBox(secrets.token_bytes(32))
    custody = CustodyService(
        database=database,
        executor=executor,
        issuer=issuer,
        audit=audit,
        seals=seals,
        authenticator=authenticator,
        idempotency=IdempotencyStore(ResponseBox(secrets.token_bytes(32)), clock),
        requests=requests,
        clock=clock,
        word_facts=WordFacts(chains={CHAIN: ChainFact("Devnet One")}),
    )
    custody.connect(engine, engine)
    admin = Principal(kind="admin", name="test")
    return World(
        database=database,
        clock=clock,
        engine=engine,
        executor=executor,
        audit=audit,
        audit_key=audit_key,
        authenticator=authenticator,
        seals=seals,
        access=access,
        apps=AppService(database, audit, authenticator, seals, clock),
        users=UserService(database, audit, authenticator, seals, clock),
        accounts=AccountService(database, audit, authenticator, seals, clock, PasswordHashing(passes=1, memory_kib=64)),
        custody=custody,
        trials=TrialService(database, custody, requests, seals),
        admin=admin,
    )
