"""What an outside party has for itself: a key, a node per chain, and eyes of its own on the escrows.

Nothing here asks Lockstep; the contracts' ABI is all that it shares with it. Not for many transactions at once: each is
awaited before the next.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Literal, Self, TypeVar

import httpx
from eth_account.signers.local import LocalAccount

from lockstep.chains.evm import Contract, decode_revert, parse_chain, to_checksum
from lockstep.client import SwapOrder, destination_amount
from lockstep.kit.errors import Stop

T = TypeVar("T")

FACTORY: Final = Contract.load("EscrowFactory")
TOKEN: Final = Contract.load("DemoToken")
SOURCE: Final = Contract.load("SourceEscrow")
DESTINATION: Final = Contract.load("DestinationEscrow")
NO_FEES: Final = bytes(128)
"""Parameters of an escrow without fees: four zero words."""
OPEN, WITHDRAWN, CANCELLED = range(3)
"""What an escrow says as its state."""
_STAGES: Final = (
    "source_withdrawal",
    "source_public_withdrawal",
    "source_cancellation",
    "source_public_cancellation",
    "destination_withdrawal",
    "destination_public_withdrawal",
    "destination_cancellation",
)
"""The seven 32-bit delays of the time-lock word, from the lowest bits up; above them stands the deployment."""
_DEPLOYED_AT: Final = 224
POLL_SECONDS: Final = 0.2
_GAS_MARGIN: Final = 130
"""Percent of the estimate, because an estimate is made for another block than the one that the transaction lands in."""


class OutsideFailed(Stop):
    """An outside party could not go on."""

    code = "outside_party_failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenLock:
    """An escrow as the factory's event on an own node says it."""

    side: Literal["source", "destination"]
    escrow: str
    fill_index: int
    immutables: dict[str, Any]
    terms: dict[str, Any] | None
    """The destination's terms, as the source factory computed them."""
    block_number: int
    block_hash: str
    block_time: int

    def opens(self, stage: str) -> int:
        """The moment of this escrow's chain at which a stage opens, for example "destination_withdrawal"."""
        word = self.immutables["timelocks"]
        delay: int = (word >> 32 * _STAGES.index(stage)) & 0xFFFFFFFF
        return int(word >> _DEPLOYED_AT) + delay


@dataclass(frozen=True, slots=True)
class Head:
    """The newest block."""

    number: int
    time: int


class OwnNode:
    """A chain as its party sees it, through its own node. Use as a context."""

    def __init__(self, chain: str, rpc_url: str, factory: str, *, finality_blocks: int, first_block: int = 0) -> None:
        """
        Args:
            chain: CAIP-2.
            factory: the escrow factory that this party trusts on this chain.
            finality_blocks: how deep a block must lie for this party to call it final.
            first_block: where to begin to look for events.
        """
        self.chain, self.factory, self.finality_blocks = chain, factory.lower(), finality_blocks
        self.chain_id = parse_chain(chain)
        self._first_block = first_block
        self._http = httpx.AsyncClient(base_url=rpc_url, timeout=20, trust_env=False)

    async def __aenter__(self) -> Self:
        if (found := int(await self.rpc("eth_chainId"), 16)) != self.chain_id:
            raise OutsideFailed(f"expected a node of {self.chain}, was one of chain {found}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._http.aclose()

    # --- reading ------------------------------------------------------------------------------------------------------

    async def rpc(self, method: str, *params: Any) -> Any:
        """One JSON-RPC call.

        Raises:
            OutsideFailed: the node refuses it; a revert with its decoded reason.
        """
        call = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        answer = (await self._http.post("", json=call)).json()
        if "error" not in answer:
            return answer["result"]
        reason, data = answer["error"].get("message", ""), answer["error"].get("data")
        if isinstance(data, str) and data.startswith("0x"):
            reason = f"{reason} ({decode_revert(bytes.fromhex(data[2:]))})"
        raise OutsideFailed(f"{method} on {self.chain}: {reason}")

    async def head(self) -> Head:
        """The newest block."""
        block = await self.rpc("eth_getBlockByNumber", "latest", False)
        return Head(int(block["number"], 16), int(block["timestamp"], 16))

    async def read(self, contract: Contract, to: str, name: str, *args: object) -> Any:
        """What a function of a contract answers at the newest block."""
        call = {"to": to, "data": "0x" + contract.encode(name, args).hex()}
        return contract.decode_result(name, bytes.fromhex((await self.rpc("eth_call", call, "latest"))[2:]))

    async def tokens_of(self, token: str, account: str) -> int:
        """Balance of a token, smallest unit."""
        return int(await self.read(TOKEN, token, "balanceOf", account))

    async def list_locks(self, side: Literal["source", "destination"], order_hash: bytes) -> list[SeenLock]:
        """The escrows that the trusted factory created for an order, whoever asked it to."""
        event = "SourceEscrowCreated" if side == "source" else "DestinationEscrowCreated"
        topics = ["0x" + FACTORY.topic(event).hex(), "0x" + order_hash.hex()]
        wanted = {"address": self.factory, "topics": topics, "fromBlock": hex(self._first_block), "toBlock": "latest"}
        return [await self._seen(side, log) for log in await self.rpc("eth_getLogs", wanted)]

    async def _seen(self, side: Literal["source", "destination"], log: dict[str, Any]) -> SeenLock:
        decoded = FACTORY.decode_event(log)
        if decoded is None:
            raise OutsideFailed(f"a log of {self.factory} that is not one of a factory")
        block = await self.rpc("eth_getBlockByHash", log["blockHash"], False)
        return SeenLock(
            side=side,
            escrow=decoded.args["escrow"],
            fill_index=decoded.args.get("fillIndex", 0),
            immutables=decoded.args["immutables"],
            terms=decoded.args.get("terms"),
            block_number=int(log["blockNumber"], 16),
            block_hash=log["blockHash"],
            block_time=int(block["timestamp"], 16),
        )

    async def is_final(self, lock: SeenLock) -> bool:
        """Whether the block of an escrow lies deep enough and is still there."""
        block = await self.rpc("eth_getBlockByNumber", hex(lock.block_number), False)
        is_there = block is not None and block["hash"] == lock.block_hash
        return is_there and (await self.head()).number >= lock.block_number + self.finality_blocks

    async def state_of(self, lock: SeenLock) -> int:
        """What an escrow says about itself: `OPEN`, `WITHDRAWN` or `CANCELLED`."""
        return int(await self.read(SOURCE if lock.side == "source" else DESTINATION, lock.escrow, "state"))

    async def find_secret(self, lock: SeenLock) -> bytes | None:
        """The secret that a withdrawal of an escrow has shown, whoever made it."""
        topics = ["0x" + SOURCE.topic("EscrowWithdrawal").hex()]
        wanted = {"address": lock.escrow, "topics": topics, "fromBlock": hex(lock.block_number), "toBlock": "latest"}
        logs = await self.rpc("eth_getLogs", wanted)
        decoded = SOURCE.decode_event(logs[0]) if logs else None
        return decoded.args["secret"] if decoded is not None else None

    async def wait_until(self, moment: int) -> None:
        """Wait until the chain's time has come."""
        await poll(self.head, lambda head: head.time >= moment)

    # --- sending ------------------------------------------------------------------------------------------------------

    async def send(
        self, account: LocalAccount, contract: Contract, to: str, name: str, *args: object, value: int = 0
    ) -> dict[str, Any]:
        """Call a function in a transaction of the own key, and wait until it is mined.

        Raises:
            OutsideFailed: it would revert, or did; with the decoded reason.
        """
        data = "0x" + contract.encode(name, args).hex()
        draft = {"from": account.address, "to": to, "value": hex(value), "data": data}
        gas = int(await self.rpc("eth_estimateGas", draft), 16) * _GAS_MARGIN // 100
        tip = int(await self.rpc("eth_maxPriorityFeePerGas"), 16)
        block = await self.rpc("eth_getBlockByNumber", "latest", False)
        transaction: dict[str, Any] = {
            "type": 2,
            "chainId": self.chain_id,
            "nonce": int(await self.rpc("eth_getTransactionCount", account.address, "pending"), 16),
            "to": to_checksum(to),
            "value": value,
            "data": data,
            "gas": gas,
            "maxPriorityFeePerGas": tip,
            "maxFeePerGas": 2 * int(block["baseFeePerGas"], 16) + tip,
        }
        signed = account.sign_transaction(transaction)
        sent = await self.rpc("eth_sendRawTransaction", "0x" + bytes(signed.raw_transaction).hex())
        receipt = await poll(lambda: self.rpc("eth_getTransactionReceipt", sent), lambda found: found is not None)
        if receipt["status"] != "0x1":
            await self.rpc("eth_call", draft, "latest")  # says why, if it would still fail
            raise OutsideFailed(f"{name} on {self.chain} was mined and failed: {sent}")
        return dict(receipt)

    async def approve(self, account: LocalAccount, token: str, amount: int) -> None:
        """Let the trusted factory take at least so much of a token, if it may not yet."""
        if int(await self.read(TOKEN, token, "allowance", account.address, self.factory)) < amount:
            await self.send(account, TOKEN, token, "approve", self.factory, amount)


# --- checking ---------------------------------------------------------------------------------------------------------


def source_difference(order: SwapOrder, order_hash: bytes, lock: SeenLock, destination: tuple[str, str]) -> str | None:
    """The first member in which a source escrow differs from what the maker signed, or None.

    Args:
        destination: chain and factory on which this party expects the other escrow.
    """
    seen, terms = lock.immutables, lock.terms or {}
    taker = seen["taker"].lower()
    rows: tuple[tuple[str, object, object], ...] = (
        ("order hash", seen["orderHash"], order_hash),
        ("fill index", lock.fill_index, 0),
        ("hashlock", seen["hashlock"], order.hashlock_info),
        ("maker", seen["maker"].lower(), order.maker.lower()),
        ("token", seen["token"].lower(), order.source_token.lower()),
        ("amount", seen["amount"], order.source_amount),
        ("time locks", seen["timelocks"], time_lock_word(order, lock.block_time)),
        ("parameters", seen["parameters"], NO_FEES),
        ("allowed taker", not order.allowed_takers or taker in [one.lower() for one in order.allowed_takers], True),
        ("safety deposit", seen["safetyDeposit"] >= order.deposits.source, True),
        ("destination chain", terms.get("chain"), order.destination.chain),
        ("destination factory", terms.get("factory"), order.destination.factory),
        ("destination token", terms.get("token"), order.destination.token),
        ("receiver", terms.get("receiver"), order.destination.receiver),
        ("destination amount", terms.get("amount"), destination_amount(order.price, lock.block_time)),
        ("destination deposit", terms.get("safetyDeposit"), order.deposits.destination),
        ("expected chain", order.destination.chain, destination[0]),
        ("expected factory", "0x" + order.destination.factory.hex(), destination[1].lower()),
    )
    return _first_difference(rows)


def destination_difference(order: SwapOrder, source: SeenLock, lock: SeenLock) -> str | None:
    """The first member in which a destination escrow differs from what the source factory emitted, or None."""
    seen, first, terms = lock.immutables, source.immutables, source.terms or {}
    rows: tuple[tuple[str, object, object], ...] = (
        ("order hash", seen["orderHash"], first["orderHash"]),
        ("hashlock", seen["hashlock"], first["hashlock"]),
        ("receiver", bytes.fromhex(seen["maker"][2:]), terms.get("receiver")),
        ("taker", seen["taker"], first["taker"]),
        ("token", bytes.fromhex(seen["token"][2:]), terms.get("token")),
        ("amount", seen["amount"], terms.get("amount")),
        ("safety deposit", seen["safetyDeposit"], terms.get("safetyDeposit")),
        ("time locks", seen["timelocks"], time_lock_word(order, lock.block_time)),
        ("parameters", seen["parameters"], NO_FEES),
        ("cancelled first", lock.opens("destination_cancellation") <= source.opens("source_cancellation"), True),
    )
    return _first_difference(rows)


def time_lock_word(order: SwapOrder, deployed_at: int) -> int:
    """The time-lock word of an escrow of this order that was created at a moment."""
    word = deployed_at << _DEPLOYED_AT
    for position, stage in enumerate(_STAGES):
        word |= int(getattr(order.time_locks, stage)) << 32 * position
    return word


def _first_difference(rows: tuple[tuple[str, object, object], ...]) -> str | None:
    return next((f"{name}: expected {wanted!r}, was {seen!r}" for name, seen, wanted in rows if seen != wanted), None)


async def poll(look: Callable[[], Awaitable[T]], is_done: Callable[[T], bool]) -> T:
    """Look again and again until it is so, and answer what was seen."""
    while True:
        seen = await look()
        if is_done(seen):
            return seen
        await asyncio.sleep(POLL_SECONDS)


def tell(event: str, **facts: object) -> None:
    """One JSON line on standard output."""
    sys.stdout.write(json.dumps({"event": event, **facts}, default=str) + "\n")
    sys.stdout.flush()
