"""The client against a real node: reads at one block, batches, reverts, failover, and nodes that lie."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from tests.support.evm import account, address, config, deploy, send, sign

from lockstep.app.devnet.anvil import Anvil
from lockstep.assets import TokenRegistry, read_allowance, read_balances, read_token
from lockstep.chains.evm import (
    CallReverted,
    ChainRegistry,
    Contract,
    EvmClient,
    LogFilter,
    NodeError,
    NodeUnavailable,
    RpcFault,
    SendOutcome,
    UnknownChain,
    UnsignedTransaction,
    WrongChain,
    abi_encode,
    classify_send,
    transaction_hash,
)
from lockstep.chains.evm.outcomes import is_busy

TOKEN = Contract.load("DemoToken")
pytestmark = pytest.mark.chain


@pytest.fixture
async def client(anvil: Anvil) -> AsyncIterator[EvmClient]:
    client = EvmClient(config(anvil))
    yield client
    await client.close()


async def test_reads__same_block__see_one_state(client: EvmClient) -> None:
    before = await client.head()
    receipt = await send(client, address(5), value=7)
    after = await client.head()
    assert after.number == before.number + 1
    assert receipt.block_hash == after.hash
    assert await client.balance(address(5), after) - await client.balance(address(5), before) == 7
    assert await client.nonces([address(0), address(5)], before) == [0, 0]
    assert await client.nonces([address(0), address(5)], after) == [1, 0]
    assert await client.find_block(after.hash) == after
    assert await client.find_block(after.number + 100) is None
    with pytest.raises(NodeError):
        await client.block(b"\x11" * 32)
    assert await client.final_number(after) == after.number - 2


async def test_calls__reverts__decoded_in_place(client: EvmClient) -> None:
    token = await deploy(client, "DemoToken", ["Alpha", "ALP", 6])
    head = await client.head()
    transfer = TOKEN.encode("transfer", [address(1), 5])
    results = await client.calls([(token, TOKEN.encode("decimals")), (token, transfer)], head)
    assert TOKEN.decode_result("decimals", results[0]) == 6  # type: ignore[arg-type]
    assert isinstance(results[1], CallReverted)
    assert TOKEN.decode_error(results[1].data).startswith("ERC20Invalid")  # type: ignore[union-attr]
    with pytest.raises(CallReverted) as caught:
        await client.estimate_gas(address(1), token, transfer, 0)
    assert "ERC20InsufficientBalance" in (TOKEN.decode_error(caught.value.data) or "")


async def test_assets__token_and_native__balances_and_metadata_at_a_block(client: EvmClient) -> None:
    address_ = await deploy(client, "DemoToken", ["Alpha", "ALP", 6])
    before = await client.head()
    await send(client, address_, TOKEN.encode("mint", [address(3), 500]))
    await send(client, address_, TOKEN.encode("approve", [address(4), 9]))
    head = await client.head()
    token = await read_token(client, address_, head)
    assert (token.symbol, token.name, token.decimals) == ("ALP", "Alpha", 6)
    registry = TokenRegistry([token], [client.chain])
    native = registry.get(f"{client.chain}/slip44:60")
    wanted = [(token, address(3)), (native, address(3)), (token, address(2))]
    assert await read_balances(client, wanted, head) == [500, 10**22, 0]
    assert await read_balances(client, wanted, before) == [0, 10**22, 0]
    assert await read_allowance(client, token, address(0), address(4), head) == 9


async def test_logs__range__in_order_and_decoded(client: EvmClient) -> None:
    token = await deploy(client, "DemoToken", ["Alpha", "ALP", 6])
    for amount in (1, 2, 3):
        await send(client, token, TOKEN.encode("mint", [address(3), amount]))
    head = await client.head_header()
    wanted = LogFilter(addresses=[token], topics=[TOKEN.topic("Transfer")])
    logs = await client.logs.read([wanted], 0, head.ref.number, {head.ref.number: head})
    events = [TOKEN.decode_event(log) for log in logs]
    assert [event.args["value"] for event in events if event] == [1, 2, 3]
    assert events[0] is not None
    assert events[0].args["to"] == address(3)


async def test_send__outcomes__classified(client: EvmClient) -> None:
    def transfer(nonce: int, value: int = 1, fee: int = 10**11) -> bytes:
        tx = UnsignedTransaction(
            chain_id=client.config.chain_id,
            nonce=nonce,
            to=address(1),
            value=value,
            data=b"",
            gas_limit=21_000,
            max_fee_per_gas=fee,
            max_priority_fee_per_gas=1,
        )
        return sign(account(0), tx)

    first = transfer(0)
    assert (await client.send_raw(first)).outcome is SendOutcome.ACCEPTED
    outcomes = [
        result.outcome
        for result in await client.send_many([transfer(0, 2), transfer(1, 10**24), transfer(1, fee=1), transfer(5)])
    ]
    assert outcomes[:3] == [
        SendOutcome.NONCE_TOO_LOW,
        SendOutcome.INSUFFICIENT_FUNDS,
        SendOutcome.FEE_TOO_LOW,
    ]
    assert outcomes[3] in (SendOutcome.ACCEPTED, SendOutcome.NONCE_GAP)
    await client.call("evm_setAutomine", [False])
    pending = transfer(1)
    assert (await client.send_raw(pending)).outcome is SendOutcome.ACCEPTED
    again = await client.send_raw(pending)
    assert again.outcome is SendOutcome.ALREADY_KNOWN
    assert again.is_in_pool
    assert await client.receipts([transaction_hash(pending)]) == [None]


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("already known", SendOutcome.ALREADY_KNOWN),
        ("replacement transaction underpriced", SendOutcome.UNDERPRICED),
        ("transaction underpriced: tip needed 1, tip permitted 0", SendOutcome.UNDERPRICED),
        ("nonce too low: next nonce 5, tx nonce 3", SendOutcome.NONCE_TOO_LOW),
        ("Nonce too high", SendOutcome.NONCE_GAP),
        ("insufficient funds for gas * price + value", SendOutcome.INSUFFICIENT_FUNDS),
        ("max fee per gas less than block base fee", SendOutcome.FEE_TOO_LOW),
        ("intrinsic gas too low", SendOutcome.INVALID),
        ("exceeds block gas limit", SendOutcome.INVALID),
        ("txpool is full", SendOutcome.UNKNOWN),
        ("unknown transaction", SendOutcome.UNKNOWN),
        ("something new", SendOutcome.UNKNOWN),
    ],
)
def test_classify_send__texts_of_nodes__outcome(text: str, outcome: SendOutcome) -> None:
    assert classify_send(text) is outcome


@pytest.mark.parametrize(
    ("code", "text", "is_so"),
    [
        (-32005, "request rate limit exceeded", True),
        (-32000, "header not found", True),
        (429, "slow down", True),
        (-32000, "429 Too Many Requests", True),
        (-32000, "execution aborted (timeout = 5s)", True),
        (-32000, "txpool is full", True),
        (3, "execution reverted: request timeout", False),
        (-32000, "execution reverted: rate limit", False),
        (-32000, "insufficient funds for gas * price + value: balance 4290, tx cost 14290", False),
        (-32000, "max fee per gas less than block base fee: maxFeePerGas: 1429, baseFee: 2429", False),
        (-32000, "nonce too low: next nonce 430, tx nonce 429", False),
    ],
)
def test_is_busy__words_of_a_contract_or_about_a_transaction__say_nothing_of_the_node(
    code: int, text: str, is_so: bool
) -> None:
    assert is_busy(code, text) is is_so


async def test_failover__a_contract_refuses_with_the_words_of_a_busy_node__is_a_revert(anvil: Anvil) -> None:
    client = EvmClient(config(anvil, rpc_urls=[anvil.url, anvil.url.replace("127.0.0.1", "localhost")]))
    data = bytes.fromhex("08c379a0") + abi_encode(["string"], ["timeout"])
    code = bytes.fromhex(f"60{len(data):02x}80600b6000396000fd") + data
    answers = await client.batch(
        [
            ("eth_chainId", []),
            ("eth_estimateGas", [{"from": address(0), "data": "0x" + code.hex()}]),
        ]
    )
    await client.close()
    assert isinstance(answers[1], RpcFault)
    error = answers[1].error()
    assert isinstance(error, CallReverted)
    assert error.reason == "timeout"


async def test_batch__fault_of_one_call__stays_in_its_place(client: EvmClient) -> None:
    answers = await client.batch([("eth_chainId", []), ("eth_nothing", []), ("eth_chainId", [])])
    assert answers[0] == answers[2] == "0x7a69"
    assert isinstance(answers[1], RpcFault)


async def test_failover__first_node_down__second_answers(anvil: Anvil) -> None:
    client = EvmClient(config(anvil, rpc_urls=["http://127.0.0.1:9", anvil.url]))
    assert (await client.head()).number == 0
    await client.check_chain_id()
    await client.close()
    lost = EvmClient(config(anvil, rpc_urls=["http://127.0.0.1:9"]))
    with pytest.raises(NodeUnavailable):
        await lost.head()
    with pytest.raises(NodeUnavailable):
        await lost.check_chain_id()
    await lost.close()


async def test_any_call__node_of_another_chain__stops(anvil_pair: tuple[Anvil, Anvil]) -> None:
    client = EvmClient(config(anvil_pair[0], rpc_urls=[anvil_pair[1].url]))
    with pytest.raises(WrongChain):
        await client.head()
    await client.close()


@pytest.fixture
async def odd_node() -> AsyncIterator[tuple[str, dict]]:
    """A server that answers what the test tells it to."""
    script: dict = {"body": "", "status": 200}

    async def answer(_: web.Request) -> web.Response:
        return web.Response(text=script["body"], status=script["status"])

    app = web.Application()
    app.router.add_post("/", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]  # aiohttp has no public name for it
    yield f"http://127.0.0.1:{port}/", script
    await runner.cleanup()


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("not json", 200),
        ("[]", 200),
        ("{}", 200),
        ("[1, 2]", 200),
        (json.dumps({"id": 7, "result": "0x1"}), 200),
        ("", 429),
        ("", 502),
    ],
)
async def test_any_call__answer_that_is_none__unavailable(
    anvil: Anvil, odd_node: tuple[str, dict], body: str, status: int
) -> None:
    url, script = odd_node
    script.update(body=body, status=status)
    client = EvmClient(config(anvil, rpc_urls=[url]))
    with pytest.raises(NodeUnavailable):
        await client.head()
    await client.close()


async def test_registry__unknown_chain__refused(anvil: Anvil) -> None:
    registry = ChainRegistry([config(anvil)])
    assert registry.get("eip155:31337").chain == "eip155:31337"
    with pytest.raises(UnknownChain):
        registry.get("eip155:1")
    assert await registry.check() == {"eip155:31337": None}
    await registry.close()
