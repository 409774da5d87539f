"""Two real chains, the real database, follower, process and book; only the transaction engine is replaced.

Legs go out through accounts that the nodes have unlocked, in the order they were committed. Time passes by blocks that
the stage mines on both chains.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from lockstep.app.devnet.anvil import Anvil
from lockstep.app.devnet.contracts import TOKEN_A, TOKEN_B, Deployment, deploy_contracts, mint
from lockstep.auctions import AuctionService, Book, BookFollower, BookRules, create_source_call, typed_data
from lockstep.auctions.schemas import PostFill, PostOrder
from lockstep.chains.evm import (
    Address,
    ChainConfig,
    ChainRegistry,
    Follower,
    abi_encode_call,
    keccak256,
)
from lockstep.custody import Principal, SecretVault, SigningStopped, Wallet
from lockstep.kit.clock import ManualClock, SystemClock
from lockstep.kit.database import Database, UnitOfWork
from lockstep.kit.errors import Forbidden
from lockstep.kit.ids import AppId, UserId, WalletId, new_id
from lockstep.kit.processes import Processes, find_process, list_steps
from lockstep.settlement import (
    Call,
    ChainPairProfile,
    Coordinator,
    EscrowFollower,
    LegStatus,
    Profiles,
    Swap,
    SwapProcess,
    SwapReader,
    SwapService,
)

PROFILE = ChainPairProfile(
    source_finality=3,
    destination_finality=3,
    source_inclusion=2,
    destination_inclusion=2,
    clock_skew=3,
    public_duty=2,
)
LOCKS = {
    "sourceWithdrawal": 3,
    "sourcePublicWithdrawal": 70,
    "sourceCancellation": 110,
    "sourcePublicCancellation": 120,
    "destinationWithdrawal": 3,
    "destinationPublicWithdrawal": 40,
    "destinationCancellation": 60,
}
PRICE = 5_000_000
AMOUNT = 10**18


class Refused(Forbidden):
    """The fake session signer was revoked."""

    code = "session_revoked"


class Engine:
    """Sends legs at once, after their commit, from unlocked accounts; keeps them by idempotency key."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.by_key: dict[str, str] = {}
        self.hashes: dict[str, tuple[str, str]] = {}
        self.deadlines: dict[str, datetime | None] = {}
        self.is_revoked = False
        self.is_taker_stopped = False
        """Whether the kill switch of the taker's app is engaged."""

    async def send(
        self,
        uow: UnitOfWork,
        principal: Principal,
        wallet_id: WalletId,
        call: Call,
        *,
        idempotency_key: str,
        deadline_at: datetime | None = None,
        wakes_id: str | None = None,
    ) -> str:
        del wakes_id
        self.deadlines[idempotency_key] = deadline_at
        if self.is_revoked and principal.name == "coordinator":
            raise Refused
        if self.is_taker_stopped and principal.name == "coordinator":
            raise SigningStopped(scope="app")
        if idempotency_key not in self.by_key:
            sent = self.by_key[idempotency_key] = new_id()
            sender = self.stage.accounts[wallet_id]

            async def broadcast() -> None:
                self.hashes[sent] = (call.chain, await self.stage.send(call.chain, sender, call))

            uow.after_commit(broadcast)
        return self.by_key[idempotency_key]

    async def list_outcomes(
        self, uow: UnitOfWork, transactions: Sequence[tuple[AppId, str]]
    ) -> Mapping[str, tuple[LegStatus, str | None]]:
        del uow
        found: dict[str, tuple[LegStatus, str | None]] = {}
        for _, one in transactions:
            if one in self.hashes:
                chain, sent = self.hashes[one]
                receipt = await self.stage.nodes[chain].call("eth_getTransactionReceipt", sent)
                if receipt is not None:
                    is_good = receipt["status"] == "0x1"
                    found[one] = (LegStatus.DONE, None) if is_good else (LegStatus.FAILED, "reverted")
        return found


class WalletsOfOneApp:
    def __init__(self, stage: Stage) -> None:
        self.stage = stage

    async def find_by_address(self, uow: UnitOfWork, app_id: AppId, address: str) -> Wallet | None:
        del uow
        return next((w for w in self.stage.wallets if w.address == address and w.app_id == app_id), None)

    async def get_for_taker(
        self, uow: UnitOfWork, principal: Principal, wallet_id: str, session_id: str | None
    ) -> tuple[Wallet, str]:
        del uow
        wallet = next(w for w in self.stage.wallets if w.id == wallet_id and w.app_id == principal.app_id)
        return wallet, session_id or new_id()

    async def check_allowed(self, uow: UnitOfWork, principal: Principal, wallet_id: WalletId, call: Call) -> None:
        del uow, wallet_id, call
        if principal.session_id in self.stage.narrow_sessions:
            raise Refused


@dataclass
class Stage:
    """Everything of one test."""

    database: Database
    nodes: dict[str, Anvil]
    deployments: dict[str, Deployment]
    chains: ChainRegistry
    accounts: dict[str, Address]
    wallets: list[Wallet]
    maker: Address
    taker: Address
    app_id: AppId
    host: ManualClock
    """What swaps take for the host's clock: it begins and moves with the chains, which a reset sets back to the time of
    their genesis, however much has passed on this machine."""
    narrow_sessions: set[str] = field(default_factory=set)
    """Ids of session signers that may send nothing themselves."""

    @classmethod
    async def build(cls, database: Database, pair: tuple[Anvil, Anvil]) -> Stage:
        deployments = {
            pair[0].chain: await deploy_contracts(pair[0], TOKEN_A),
            pair[1].chain: await deploy_contracts(pair[1], TOKEN_B),
        }
        accounts = [Address(one.lower()) for one in await pair[0].call("eth_accounts")]
        app_id = AppId(new_id())
        stage = cls(
            database=database,
            nodes={node.chain: node for node in pair},
            deployments=deployments,
            chains=ChainRegistry([_config(node, deployments[node.chain]) for node in pair]),
            accounts={},
            wallets=[],
            maker=accounts[1],
            taker=accounts[2],
            app_id=app_id,
            host=ManualClock(datetime.fromtimestamp(max([await _head_time(node) for node in pair]), UTC)),
        )
        stage._wire(accounts[3])
        source, destination = stage.source, stage.destination
        await mint(pair[0], source.token.address, stage.maker, 10 * AMOUNT)
        await mint(pair[1], destination.token.address, stage.taker, 10 * PRICE)
        for deployment, owner in ((source, stage.maker), (destination, stage.taker)):
            approve = abi_encode_call("approve(address,uint256)", [deployment.factory, 2**255])
            call = Call(chain=deployment.chain, to=deployment.token.address, value=0, data=approve)
            await stage.send(deployment.chain, owner, call)
        return stage

    def _wire(self, coordinator: Address) -> None:
        clock = SystemClock()
        self.wallets = [_wallet(self.app_id, self.maker), _wallet(self.app_id, self.taker)]
        for wallet in self.wallets:
            self.accounts[wallet.id] = Address(wallet.address)
        duty = Coordinator(
            principal=Principal(kind="session", app_id=self.app_id, wallet_id=WalletId(new_id()), session_id=new_id()),
            wallet_id=WalletId(new_id()),
        )
        self.accounts[duty.wallet_id] = coordinator

        async def find_duty(uow: UnitOfWork) -> Coordinator:
            return duty

        self.engine = Engine(self)
        self.book = Book(clock, SecretVault(bytes(range(32))))
        profiles = Profiles({(self.source.chain, self.destination.chain): PROFILE})
        reader = SwapReader(self.database, self.chains, self.book, self.engine, profiles, self.host, 100)
        self.swaps = SwapService(self.database, clock, profiles, self.book, reader)
        self.auctions = AuctionService(
            self.database,
            clock,
            self.chains,
            BookRules(factories={d.chain: d.factory for d in self.deployments.values()}, minimum_deposits={}),
            self.book,
            self.swaps,
            WalletsOfOneApp(self),
            self.engine,
        )
        self.processes = Processes(self.database, clock)
        self.processes.register(SwapProcess(reader, self.engine, self.book, clock, find_duty))
        self.followers = [
            follower
            for client in self.chains
            for follower in (
                Follower(
                    "settlement",
                    client,
                    self.database,
                    clock,
                    EscrowFollower(self.chains, self.book, self.swaps, clock),
                ),
                Follower("auctions", client, self.database, clock, BookFollower(self.chains, self.book, clock)),
            )
        ]

    @property
    def source(self) -> Deployment:
        return next(iter(self.deployments.values()))

    @property
    def destination(self) -> Deployment:
        return list(self.deployments.values())[1]

    @property
    def app(self) -> Principal:
        return Principal(kind="app", app_id=self.app_id)

    def external(self, address: Address) -> Principal:
        return Principal(kind="external", address=address)

    # --- chains ---

    async def send(self, chain: str, sender: Address, call: Call) -> str:
        sent: str = await self.nodes[chain].call(
            "eth_sendTransaction",
            {
                "from": sender,
                "to": call.to,
                "value": hex(call.value),
                "data": "0x" + call.data.hex(),
                "gas": hex(3_000_000),
            },
        )
        return sent

    async def pass_time(self, seconds: int = 1, blocks: int = 1) -> None:
        self.host.advance(timedelta(seconds=seconds))
        for node in self.nodes.values():
            await node.call("evm_increaseTime", seconds)
            for _ in range(blocks):
                await node.call("evm_mine")

    async def balance(self, deployment: Deployment, owner: Address) -> int:
        client = self.chains.get(deployment.chain)
        data = abi_encode_call("balanceOf(address)", [owner])
        return int.from_bytes(await client.eth_call(deployment.token.address, data, await client.head()), "big")

    async def balances(self) -> dict[str, int]:
        return {
            "maker source": await self.balance(self.source, self.maker),
            "maker destination": await self.balance(self.destination, self.maker),
            "taker source": await self.balance(self.source, self.taker),
            "taker destination": await self.balance(self.destination, self.taker),
        }

    # --- everything that runs in workers ---

    async def work(self) -> None:
        for follower in self.followers:
            while await follower.follow_once():
                pass
        async with self.database.system("test") as uow:
            rows = await uow.fetch("select id, version from processes where kind = 'swap' and due_at is not null")
        for row in rows:
            await self.processes.run("swap", row["id"], row["version"])

    async def until(self, swap_id: str, *states: str, looks: int = 60, seconds: int = 2) -> str:
        for _ in range(looks):
            await self.work()
            async with self.database.system("test") as uow:
                row = await find_process(uow, "swap", swap_id)
            assert row is not None
            if row["state"] in states:
                return str(row["state"])
            await self.pass_time(seconds)
        async with self.database.system("test") as uow:
            steps = await list_steps(uow, "swap", swap_id)
        raise AssertionError(f"{row['state']}: {row['reason']}; {[(s['to_state'], s['reason']) for s in steps]}")

    # --- orders ---

    async def document(self, secret: bytes, **changes: Any) -> dict[str, Any]:
        head = await self.chains.get(self.source.chain).head()
        return {
            "maker": self.maker,
            "sourceToken": self.source.token.address,
            "sourceAmount": str(AMOUNT),
            "destination": {
                "chain": self.destination.chain,
                "factory": self.destination.factory,
                "token": self.destination.token.address,
                "receiver": self.maker,
            },
            "price": {
                "startTime": head.timestamp,
                "duration": 60,
                "endAmount": str(PRICE),
                "initialRateBump": 1_000_000,
                "points": [],
            },
            "deposits": {"source": str(10**15), "destination": str(10**15)},
            "timeLocks": LOCKS,
            "hashlockInfo": "0x" + keccak256(secret).hex(),
            "allowedTakers": [],
            "nonce": str(secrets.randbits(64)),
            "expiry": head.timestamp + 600,
            "extensionHash": "0x" + "00" * 32,
            **changes,
        }

    async def signed(self, document: dict[str, Any]) -> PostOrder:
        unsigned = PostOrder.model_validate(
            {
                "source_chain": self.source.chain,
                "source_factory": self.source.factory,
                "order": document,
                "signature": "0x",
            }
        )
        typed = typed_data(unsigned.order.to_order(unsigned.source_chain, unsigned.source_factory))
        signature = await self.nodes[self.source.chain].call("eth_signTypedData_v4", self.maker, typed)
        return unsigned.model_copy(update={"signature": signature})

    async def offer(self, secret: bytes, **changes: Any) -> bytes:
        order, is_new = await self.auctions.post_order(
            self.app, await self.signed(await self.document(secret, **changes))
        )
        assert is_new
        return order.signed.hash

    async def take_managed(self, order_hash: bytes) -> Swap:
        return await self.auctions.fill_order(
            self.app,
            order_hash,
            PostFill(mode="managed", wallet_id=self.wallets[1].id, session_signer_id=new_id()),
        )

    async def create_source(self, order_hash: bytes) -> str:
        """An external taker opens the source escrow itself."""
        signed = (await self.auctions.get_order(order_hash)).signed
        return await self.send(
            self.source.chain,
            self.taker,
            Call(
                chain=self.source.chain,
                to=self.source.factory,
                value=signed.order.source_deposit,
                data=create_source_call(signed),
            ),
        )

    async def invalidate_nonce(self, nonce: int) -> str:
        """An external maker cancels on chain."""
        data = abi_encode_call("invalidateNonce(uint256)", [nonce])
        return await self.send(
            self.source.chain, self.maker, Call(chain=self.source.chain, to=self.source.factory, value=0, data=data)
        )

    async def submit_secret(self, order_hash: bytes, secret: bytes) -> Swap:
        return await self.auctions.submit_secret(self.app, order_hash, 0, secret)


def _config(node: Anvil, deployment: Deployment) -> ChainConfig:
    return ChainConfig(
        chain=node.chain,
        chain_id=int(node.chain.split(":")[1]),
        name=node.chain,
        rpc_urls=[node.url],
        finality_blocks=3,
        block_seconds=1.0,
        max_fee_per_gas=10**11,
        contracts={"EscrowFactory": deployment.factory},
    )


async def _head_time(node: Anvil) -> int:
    return int((await node.call("eth_getBlockByNumber", "latest", False))["timestamp"], 16)


def _wallet(app_id: AppId, address: Address) -> Wallet:
    fields: dict[str, Any] = dict.fromkeys(Wallet.__dataclass_fields__)
    fields.update(
        id=WalletId(new_id()),
        app_id=app_id,
        address=address,
        chain_type="ethereum",
        public_key=b"",
        policy_ids=(),
        owner_user_id=UserId(new_id()),
        status="active",
        version=1,
    )
    return Wallet(**fields)
