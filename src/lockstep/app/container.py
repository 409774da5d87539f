"""The composition root: builds every object of `serve` and `work` from the settings, and wires the ports.

Building touches nothing outside the process but key files; `open` connects. No object is reachable from a module.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from lockstep.app.http import Probe
from lockstep.app.migrate import check_schema
from lockstep.app.seals import build_seals
from lockstep.app.settings import IssuerSettings, Settings
from lockstep.app.stream import Hub, StreamEndpoint, Tailer, run_heartbeat
from lockstep.app.topics import PRICE_UPDATE, make_topics
from lockstep.app.wiring import BookWallets, EngineLegs, MakerLegs, coordinator_of
from lockstep.assets import TokenRegistry
from lockstep.auctions import NAME as CANCELLATIONS
from lockstep.auctions import AuctionService, Book, BookFollower, BookKeeper, BookRules, PriceClock, PriceUpdate
from lockstep.chains.evm import ChainRegistry, EvmClient, Follower
from lockstep.custody import (
    AccessService,
    AccountService,
    AggregationService,
    ApprovalService,
    AppService,
    AuditLog,
    Authenticator,
    AuthorityService,
    AuthorizationIssuer,
    AuthorizationKey,
    AuthShares,
    ChainFact,
    CheckpointFile,
    CheckpointWriter,
    ConditionSetService,
    CustodyService,
    IdempotencyStore,
    Issuer,
    LocalKms,
    RequestBox,
    ResponseBox,
    RestoreGuard,
    SecretVault,
    SignerClient,
    SignerClientConfig,
    SwitchService,
    TokenFact,
    TokenVerifier,
    TrialService,
    UserService,
    WordFacts,
    derive_key,
    read_key_file,
)
from lockstep.kit.clock import Clock, SystemClock
from lockstep.kit.database import Database
from lockstep.kit.outbox import run_publisher
from lockstep.kit.processes import Dispatcher, Processes, make_job_app, run_jobs
from lockstep.settlement import NAME as ESCROWS
from lockstep.settlement import ChainPairProfile, EscrowFollower, Profiles, SwapProcess, SwapReader, SwapService
from lockstep.transactions import (
    EngineSettings,
    TokenBalances,
    TransactionEngine,
    TransactionSender,
    TransactionsService,
    evm_families,
)

Loop = Callable[[asyncio.Event], Awaitable[None]]


class Container:
    """Everything one process of the service needs."""

    def __init__(self, settings: Settings, *, name: str, clock: Clock | None = None) -> None:
        self.settings = settings
        self.clock = clock or SystemClock()
        pool = settings.pool
        dsn = settings.database_url.get_secret_value()
        self.database = Database(dsn, name=name, min_size=pool.min_size, max_size=pool.max_size)
        self.chains = ChainRegistry([chain.config() for chain in settings.chains])
        tokens = [token for chain in settings.chains for token in chain.registered_tokens()]
        self.tokens = TokenRegistry(tokens, [chain.chain for chain in settings.chains])
        self._build_custody()
        self._build_transactions()
        self._build_swaps()
        self._build_stream()
        self._processes = Processes(self.database, self.clock)
        self._processes.register(self.swap_process)

    async def open(self) -> None:
        """Connect to the database, which must have our schema; everything else is connected when it is first needed.

        Raises:
            DatabaseUnavailable. SchemaOutdated: it was not migrated.
        """
        await self.database.open()
        await check_schema(self.database)
        await self.restore_guard.look()

    async def close(self) -> None:
        await self.signer.close()
        await self.chains.close()
        await self.database.close()

    # --- custody ------------------------------------------------------------------------------------------------------

    def _build_custody(self) -> None:
        settings = self.settings
        authorization = AuthorizationKey(read_key_file(settings.keys.authorization_file))
        audit_key = read_key_file(settings.keys.audit_file)
        auth_shares_key = read_key_file(settings.keys.auth_shares_file)
        link = settings.signer
        self.signer = SignerClient(
            SignerClientConfig(
                socket_path=link.socket_path, connections=link.connections, deadline_seconds=link.deadline_seconds
            ),
            authorization_key=authorization,
            auth_shares=AuthShares(LocalKms({1: auth_shares_key}, key_id="auth")),
        )
        self.audit = AuditLog(audit_key, self.clock)
        self.seals = build_seals(settings.keys.audit_file, settings.audit.checkpoints_file)
        self.authenticator = Authenticator(self.database, TokenVerifier(self.clock), self.seals, self.clock)
        self.access = AccessService(
            self.database,
            self.audit,
            self.authenticator,
            self.seals,
            self.clock,
            origins=[settings.http.public_url],
            known_issuers=[_issuer_of(issuer) for issuer in settings.issuers],
        )
        self.apps = AppService(self.database, self.audit, self.authenticator, self.seals, self.clock)
        self.users = UserService(self.database, self.audit, self.authenticator, self.seals, self.clock)
        self.accounts = AccountService(self.database, self.audit, self.authenticator, self.seals, self.clock)
        self._vault = SecretVault(auth_shares_key)
        self.authority = AuthorityService(self.database, self.audit, self.seals, self.clock)
        self.switches = SwitchService(self.database, self.audit, self.seals, self.clock)
        self.condition_sets = ConditionSetService(self.database, self.audit, self.seals, self.clock)
        self.aggregations = AggregationService(self.database, self.audit, self.seals, self.clock)
        answers = ResponseBox(derive_key(audit_key, "idempotent-responses:v1"))
        self.idempotency = IdempotencyStore(answers, self.clock)
        requests = RequestBox(derive_key(audit_key, "decision-requests:v1"))
        self.custody = CustodyService(
            database=self.database,
            executor=self.signer,
            issuer=AuthorizationIssuer(authorization, self.clock),
            audit=self.audit,
            seals=self.seals,
            authenticator=self.authenticator,
            idempotency=self.idempotency,
            requests=requests,
            clock=self.clock,
            word_facts=self._word_facts(),
            cardano_network=settings.cardano_network,
        )
        self.approvals = ApprovalService(
            database=self.database,
            custody=self.custody,
            authority=self.authority,
            audit=self.audit,
            seals=self.seals,
            box=answers,
            origin=settings.http.public_url,
            clock=self.clock,
        )
        self.trials = TrialService(self.database, self.custody, requests, self.seals)
        marks = CheckpointFile(settings.audit.checkpoints_file)
        self.restore_guard = RestoreGuard(self.database, marks, self.seals.hold)
        self.checkpoints = CheckpointWriter(
            self.database,
            marks,
            lambda payload: self.signer.sign_transport("audit_checkpoint", payload),
            self.clock,
        )

    def _word_facts(self) -> WordFacts:
        return WordFacts(
            chains={chain.chain: ChainFact(chain.name) for chain in self.settings.chains},
            tokens={
                (token.chain, token.address): TokenFact(token.symbol, token.decimals, token.name)
                for token in self.tokens
                if token.address is not None
            },
            contracts={
                (client.chain, address): name
                for client in self.chains
                for name, address in client.config.contracts.items()
            },
        )

    # --- transactions and swaps ---------------------------------------------------------------------------------------

    def _build_transactions(self) -> None:
        self.sender = TransactionSender(self.chains, self.clock)
        self.custody.connect(self.sender, self.sender)
        self.transactions = TransactionsService(self.sender, self.custody, self.clock)
        low = {chain.chain: chain.low_balance_wei for chain in self.settings.chains}
        engine = EngineSettings(**self.settings.transactions.model_dump())
        families = evm_families(
            self.chains,
            self.database,
            self.custody,
            self.clock,
            engine,
            low_balances=low,
            observer=TokenBalances(self.tokens),
        )
        self.engine = TransactionEngine(families, self.database, self.custody, self.clock, engine)

    def _build_swaps(self) -> None:
        settings = self.settings
        pairs = {
            (pair.source, pair.destination): ChainPairProfile(**pair.model_dump(exclude={"source", "destination"}))
            for pair in settings.chain_pairs
        }
        profiles, legs, book = Profiles(pairs), EngineLegs(self.transactions), Book(self.clock, self._vault)
        reader = SwapReader(
            self.database, self.chains, book, legs, profiles, self.clock, settings.swaps.public_legs_per_day
        )
        self.swaps = SwapService(self.database, self.clock, profiles, book, reader)
        self.swap_process = SwapProcess(reader, legs, book, self.clock, coordinator_of(settings.coordinator))
        factories = {
            client.chain: factory
            for client in self.chains
            if (factory := client.config.contracts.get("EscrowFactory")) is not None
        }
        rules = BookRules(
            factories=factories, minimum_deposits={chain.chain: chain.minimum_deposit_wei for chain in settings.chains}
        )
        self.auctions = AuctionService(
            self.database,
            self.clock,
            self.chains,
            rules,
            book,
            self.swaps,
            BookWallets(self.custody, self.sender),
            MakerLegs(self.transactions),
        )
        self._prices = PriceClock(self.database, self.clock, self.chains)
        self._keeper = BookKeeper(self.database, self.clock, self.chains, book)
        escrows, cancellations = (
            EscrowFollower(self.chains, book, self.swaps, self.clock),
            BookFollower(self.chains, book, self.clock),
        )
        self._followers = [
            Follower(name, self.chains.get(chain), self.database, self.clock, handler)
            for chain in factories
            for name, handler in ((ESCROWS, escrows), (CANCELLATIONS, cancellations))
        ]

    # --- the stream ---------------------------------------------------------------------------------------------------

    def _build_stream(self) -> None:
        topics = make_topics(self.custody, self.auctions, self.transactions)
        self.hub = Hub(self.database, topics, self.clock)
        self.stream = StreamEndpoint(self.hub, topics, self.authenticator, self.clock)

    # --- what runs ----------------------------------------------------------------------------------------------------

    def serving_loops(self) -> dict[str, Loop]:
        """What runs beside the requests of a `serve` process."""
        return {
            "stream": Tailer(self.database, self.hub).run,
            "prices": self._run_prices,
            "restore guard": self.restore_guard.run,
            "heartbeat": lambda stop: run_heartbeat(self.hub, self.authenticator, stop),
        }

    def working_loops(self) -> dict[str, Loop]:
        """What runs in a `work` process; what must be one leads by a lock of the database."""
        dsn = self.database.dsn
        return {
            "publisher": lambda stop: run_publisher(self.database, stop),
            "dispatcher": Dispatcher(self.database, make_job_app(dsn), self.clock).run,
            "jobs": lambda stop: run_jobs(make_job_app(dsn, self._processes), stop),
            "engine": self.engine.run,
            "restore guard": self.restore_guard.run,
            "checkpoints": lambda stop: self.checkpoints.run(stop, self.settings.audit.every_seconds),
            "housekeeping": self.custody.run_housekeeping,
            "approvals": self.approvals.run,
            "keeper": self._keeper.run,
            **{f"follower {follower.name} {follower.chain}": follower.run for follower in self._followers},
        }

    async def _run_prices(self, stop: asyncio.Event) -> None:
        def tell(update: PriceUpdate) -> None:
            self.hub.publish_ephemeral(
                topic="orders", type=PRICE_UPDATE, object_id=update.order_hash, data=update.data, as_of=update.as_of
            )

        await self._prices.run(stop, tell, lambda: self.hub.is_wanted("orders", PRICE_UPDATE))

    def probes(self) -> dict[str, Probe]:
        """What `/health/ready` asks, by part."""
        return {
            "database": self._probe_database,
            "signer": self._probe_signer,
            **{f"chain {client.chain}": _probe_of(client) for client in self.chains},
        }

    async def _probe_database(self) -> None:
        async with self.database.system("health") as uow:
            await uow.find("select 1 as x")

    async def _probe_signer(self) -> None:
        await self.signer.health()


def _probe_of(client: EvmClient) -> Probe:
    async def probe() -> None:
        await client.check_chain_id()

    return probe


def _issuer_of(settings: IssuerSettings) -> Issuer:
    file = settings.jwks_file
    return Issuer(
        issuer=settings.issuer,
        audience=settings.audience,
        jwks_file=str(file) if file is not None else None,
        jwks_url=settings.jwks_url,
    )
