"""Takes transactions over from custody, quotes them, and reserves nonces for what callers send themselves.

Implements custody's ports `Sender` and `NonceLedger`. Decides nothing about permission and signs nothing.
"""

from __future__ import annotations

from lockstep.assets import erc20_asset, native_asset
from lockstep.chains.evm import (
    Address,
    BlockRef,
    CallReverted,
    ChainConfig,
    ChainRegistry,
    EvmClient,
    FeeMarket,
    Fees,
    NodeError,
    RpcFault,
    TransactionType,
    TransferSimulator,
    UnsignedTransaction,
    abi_encode_call,
    intrinsic_gas,
    parse_address,
    read_data_fees,
    to_checksum,
)
from lockstep.custody import BATCH_MODE, Decision, QueuedTransaction, Quote, TransactionIntent
from lockstep.kit.clock import Clock
from lockstep.kit.database import UnitOfWork
from lockstep.kit.errors import Conflict
from lockstep.kit.ids import new_id
from lockstep.transactions.errors import DoubleSignPrevented, IdempotencyKeyReused, NonceTaken, NoPrivateNode
from lockstep.transactions.evm import nonces
from lockstep.transactions.evm.rules import bound_fees, cost, kept_for_data, with_headroom
from lockstep.transactions.store import rows
from lockstep.transactions.types import State, Transaction

_TRANSFER_GAS = 21_000
_YES = (1).to_bytes(32, "big")
_TRANSFERS_SHOWN = 50


class TransactionSender:
    """The engine's front door."""

    def __init__(self, chains: ChainRegistry, clock: Clock) -> None:
        self._chains, self._clock = chains, clock
        self._simulators = {client.chain: TransferSimulator(client) for client in chains}

    def config(self, chain: str) -> ChainConfig:
        """What is known about a chain.

        Raises:
            UnknownChain: it is not configured.
        """
        return self._chains.get(chain).config

    async def fee_market(self, chain: str) -> FeeMarket:
        """What the nodes of a chain ask for now.

        Raises:
            UnknownChain, NodeUnavailable.
        """
        return await self._chains.get(chain).fee_market()

    def transaction_type(self, chain: str) -> TransactionType:
        """Type of the transactions that are sent on a chain.

        Raises:
            UnknownChain: the chain is not configured.
        """
        return self.config(chain).transaction_type

    async def enqueue(self, uow: UnitOfWork, decision: Decision, intent: TransactionIntent) -> QueuedTransaction:
        """Store the transaction in the caller's database transaction; the engine takes it from there.

        Raises:
            IdempotencyKeyReused: the key belongs to another transaction of this wallet.
            UnknownChain: the chain is not configured.
            NoPrivateNode: it is to be private, and the chain has no private node.
        """
        queued = await self.queue(uow, decision.id, intent)
        return QueuedTransaction(
            id=queued.id, state=queued.state.value, hash=None if queued.hash is None else "0x" + queued.hash.hex()
        )

    async def queue(
        self,
        uow: UnitOfWork,
        decision_id: str,
        intent: TransactionIntent,
        *,
        wakes: tuple[str, str] | None = None,
        cancels_late: bool = True,
    ) -> Transaction:
        """As `enqueue`, and names the durable process (kind, id) that is woken when it is mined and when it ends.

        Args:
            cancels_late: whether it is cancelled when it is signed but not mined at its deadline.
        """
        config = self._chains.get(intent.chain).config
        is_private = config.private_by_default if intent.is_private is None else intent.is_private
        if is_private and config.private_rpc_url is None:
            raise NoPrivateNode(f"{config.name} has no private node; a transaction that must be private is not taken")
        now = self._clock.now()
        transaction = Transaction(
            id=new_id(),
            app_id=intent.app_id,
            wallet_id=intent.wallet_id,
            decision_id=decision_id,
            chain=intent.chain,
            sender=parse_address(intent.from_address),
            to=None if intent.to is None else parse_address(intent.to),
            value=intent.value,
            data=intent.data,
            type=intent.type,
            speed=intent.speed,
            is_private=is_private,
            gas_limit_ceiling=intent.gas_limit,
            max_fee_ceiling=intent.max_fee_per_gas,
            max_priority_fee_ceiling=intent.max_priority_fee_per_gas,
            idempotency_key=intent.idempotency_key,
            priority=intent.priority,
            deadline_at=intent.deadline_at,
            cancels_late=cancels_late,
            correlation_id=intent.correlation_id,
            wakes_kind=wakes[0] if wakes else None,
            wakes_id=wakes[1] if wakes else None,
            state=State.QUEUED,
            version=1,
            due_at=now,
            failures=0,
            reason=None,
            nonce=None,
            attempt=0,
            gas_limit=None,
            max_fee_per_gas=None,
            max_priority_fee_per_gas=None,
            data_fee=0,
            hash=None,
            block_number=None,
            block_hash=None,
            succeeded=None,
            gas_used=None,
            effective_gas_price=None,
            contract_address=None,
            revert_reason=None,
            created_at=now,
            updated_at=now,
        )
        if await rows.insert(uow, transaction):
            return transaction
        known = await rows.find_by_key(uow, intent.app_id, intent.wallet_id, intent.idempotency_key)
        if known is None:
            raise Conflict("a transaction with this idempotency key is being stored at this moment; ask again")
        check_same(known, intent)
        return known

    async def runs_batches(self, chain: str, address: str) -> bool:
        """Whether the account runs code now that makes calls in a batch when it asks itself.

        Raises:
            UnknownChain, NodeUnavailable.
        """
        client, account = self._chains.get(chain), parse_address(address)
        question = abi_encode_call("supportsExecutionMode(bytes32)", [BATCH_MODE])
        try:
            answer = await client.eth_call(account, question, await client.head())
        except CallReverted:
            return False
        return answer == _YES  # an account without code answers nothing

    async def quote(self, intent: TransactionIntent) -> Quote:
        """What it would cost now and whether it would go through. Fees in wei per gas, under the intent's ceilings.

        Raises:
            UnknownChain, NodeUnavailable.
        """
        client = self._chains.get(intent.chain)
        sender = parse_address(intent.from_address)
        head = await client.head_header()
        market = await client.fee_market()
        limit = client.config.max_fee_per_gas
        ceiling = limit if intent.max_fee_per_gas is None else min(intent.max_fee_per_gas, limit)
        is_legacy = intent.type == 0
        offer = market.offer(intent.speed, is_legacy=is_legacy)
        fees = bound_fees(market, offer, ceiling, intent.max_priority_fee_per_gas, is_legacy=is_legacy)
        simulation: dict[str, object] = {
            "block_number": head.ref.number,
            "gas_price" if is_legacy else "base_fee_per_gas": str(market.least_fee),
        }
        if fees is None:
            simulation["waits_for_fee"] = True
            fees = Fees(ceiling, ceiling if is_legacy else 0)
        gas, will_revert = await _estimate(client, sender, intent)
        if intent.gas_limit is not None:
            gas = intent.gas_limit
        data_fee = await _data_fee(client, intent, gas, fees, head.ref)
        if will_revert is None:
            simulation["transfers"] = await self._transfers(intent, head.ref)
        balance = await client.balance(sender, head.ref)
        simulation["balance"] = str(balance)
        if will_revert is None and balance < cost(intent.value, gas, fees.max_fee_per_gas, data_fee):
            simulation["insufficient_funds"] = True
        return Quote(
            gas_limit=gas,
            max_fee_per_gas=fees.max_fee_per_gas,
            max_priority_fee_per_gas=fees.max_priority_fee_per_gas,
            data_fee=data_fee,
            will_revert=will_revert,
            simulation=simulation,
        )

    async def _transfers(self, intent: TransactionIntent, block: BlockRef) -> list[dict[str, str]] | None:
        """What would move, the first `_TRANSFERS_SHOWN`, with CAIP-19 names; None when the nodes do not say."""
        found = await self._simulators[intent.chain].transfers(
            parse_address(intent.from_address),
            None if intent.to is None else parse_address(intent.to),
            intent.data,
            intent.value,
            block,
        )
        if found is None:
            return None
        return [
            {
                "asset": native_asset(intent.chain) if one.token is None else erc20_asset(intent.chain, one.token),
                "from": to_checksum(one.sender),
                "to": to_checksum(one.recipient),
                "amount": str(one.amount),
            }
            for one in found[:_TRANSFERS_SHOWN]
        ]

    async def claim(self, uow: UnitOfWork, chain: str, address: str, nonce: int, digest: bytes) -> None:
        """Reserve a nonce for a digest that is signed for the caller, who sends it. The same digest may come again.

        Raises:
            NonceTaken: it belongs to something else, the chain has passed it, or it lies beyond the next free one (a gap
                would hold up everything behind it).
        """
        if uow.app_id is None:
            raise ValueError("a nonce is claimed for an app")
        app_id = uow.app_id
        client = self._chains.get(chain)
        account = parse_address(address)
        mined = (await client.nonces([account], await client.head()))[0]
        reserved = (await nonces.list_reserved(uow, chain, {account: mined}))[account]
        if nonce < mined:
            raise NonceTaken(f"nonce {nonce} is used; the next one is {mined}", next_nonce=mined)
        first_free = next(n for n in range(mined, mined + len(reserved) + 1) if n not in reserved)
        if nonce not in reserved and nonce != first_free:
            raise NonceTaken(f"expected the next free nonce {first_free}, was {nonce}", next_nonce=first_free)
        entry = nonces.LedgerEntry(
            chain=chain, address=account, nonce=nonce, digest=digest, app_id=app_id, content=digest, fees=Fees(0, 0)
        )
        now = self._clock.now()
        reservation = nonces.Reservation(chain=chain, address=account, nonce=nonce, app_id=app_id, transaction_id=None)
        await nonces.reserve_if_free(uow, reservation, now)
        try:
            await nonces.enter_digests(uow, [entry], now)
        except DoubleSignPrevented as error:
            raise NonceTaken(f"nonce {nonce} was given to another transaction", next_nonce=first_free) from error

    async def next_nonce(self, uow: UnitOfWork, chain: str, address: str) -> int:
        """The nonce that the account's next transaction would get."""
        client = self._chains.get(chain)
        account = parse_address(address)
        mined = (await client.nonces([account], await client.head()))[0]
        reserved = (await nonces.list_reserved(uow, chain, {account: mined}))[account]
        return next(n for n in range(mined, mined + len(reserved) + 1) if n not in reserved)


def check_same(known: Transaction, intent: TransactionIntent) -> None:
    """Refuse a key that stands for something else.

    Raises:
        IdempotencyKeyReused: chain, recipient, value or data differ.
    """
    to = None if intent.to is None else parse_address(intent.to)
    if (known.chain, known.to, known.value, known.data) != (intent.chain, to, intent.value, intent.data):
        raise IdempotencyKeyReused(
            f"the idempotency key {intent.idempotency_key[:64]!r} belongs to the transaction {known.id}",
            transaction_id=known.id,
        )


async def _data_fee(client: EvmClient, intent: TransactionIntent, gas: int, fees: Fees, block: BlockRef) -> int:
    """What is kept back for the transaction's data fee, wei."""
    transaction = UnsignedTransaction(
        chain_id=client.config.chain_id,
        nonce=0,
        to=None if intent.to is None else parse_address(intent.to),
        value=intent.value,
        data=intent.data,
        gas_limit=max(gas, intrinsic_gas(None, intent.data)),  # a refusal is not the quote's business
        max_fee_per_gas=fees.max_fee_per_gas,
        max_priority_fee_per_gas=fees.max_priority_fee_per_gas,
        type=intent.type,
    )
    return kept_for_data((await read_data_fees(client, [transaction], block))[0])


async def _estimate(client: EvmClient, sender: Address, intent: TransactionIntent) -> tuple[int, str | None]:
    """Gas limit with headroom, and why it would fail (then with the gas of a plain transfer)."""
    to = None if intent.to is None else parse_address(intent.to)
    call = {"from": sender, "data": "0x" + intent.data.hex(), "value": hex(intent.value)}
    answer = (await client.batch([("eth_estimateGas", [call if to is None else {**call, "to": to}])]))[0]
    if not isinstance(answer, RpcFault):
        gas = int(answer, 16)
        return (gas if gas == _TRANSFER_GAS else with_headroom(gas, client.config.transaction_gas_cap)), None
    error = answer.error()
    if isinstance(error, CallReverted):
        return _TRANSFER_GAS, error.reason
    if isinstance(error, NodeError) and "insufficient funds" in answer.message.lower():
        return _TRANSFER_GAS, "insufficient funds"
    raise error
