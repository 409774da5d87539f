"""What `lockstep doctor` looks at on a chain: each of its nodes by itself, and the WebSocket. Changes nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Literal

from lockstep.chains.evm import (
    ZERO_ADDRESS,
    ChainConfig,
    EvmClient,
    Header,
    LogFilter,
    NodeError,
    check_announcements,
)
from lockstep.kit.clock import Clock

Seen = str | tuple[Literal["ok", "warn", "fail"], str]


def looks_at_chain(config: ChainConfig, clock: Clock) -> Iterator[tuple[str, Callable[[], Awaitable[Seen]]]]:
    """Looks at a chain by what they are about: one per node, and one at the WebSocket where there is one."""
    urls = config.rpc_urls
    for index, url in enumerate(urls):
        what = config.chain if len(urls) == 1 else f"{config.chain} node {index}"
        alone = replace(config, rpc_urls=[url], ws_url=None, read_quorum=1)
        yield what, partial(_node, alone, clock)
    if config.ws_url is not None:
        yield f"{config.chain} WebSocket", partial(_socket, config)


async def _node(config: ChainConfig, clock: Clock) -> Seen:
    """Chain id, contracts, what it still has of the past, age of its head."""
    client = EvmClient(config)
    try:
        await client.check_chain_id()
        head = await client.head_header()
        for name, address in config.contracts.items():
            if await client.code(address, head.ref) == b"":
                return "fail", f"there is no contract {name} at {address}; check the settings of {config.chain}"
        missing = await _find_missing_past(client, head)
    finally:
        await client.close()
    if missing is not None:
        return "fail", missing
    age = clock.now().timestamp() - head.ref.timestamp
    words = f"block {head.ref.number}, {age:.0f} s old; {len(config.contracts)} contracts in place"
    if age >= config.stale_seconds:
        return "warn", f"{words}; the node may have stopped following its chain"
    return words


async def _find_missing_past(client: EvmClient, head: Header) -> str | None:
    """What the node lacks of the blocks that we need: the state at the newest final one, and logs from our first on."""
    final = await client.final_number(head.ref)
    try:
        if final >= 0:
            await client.balance(ZERO_ADDRESS, await client.block(final))
    except NodeError as error:
        return (
            f"it does not have the state of the final block {final} any more; use one that keeps more ({error.detail})"
        )
    first = min(client.config.first_block, head.ref.number)
    try:
        found = (await client.headers([first]))[0]
        if found is None:
            raise NodeError("it does not have the block")
        await client.logs.read(
            [LogFilter(addresses=[ZERO_ADDRESS])], first, first, {first: replace(found, logs_bloom=None)}
        )
    except NodeError as error:
        return f"it does not have the logs of our first block {first}; followers cannot begin there ({error.detail})"
    return None


async def _socket(config: ChainConfig) -> Seen:
    await check_announcements(config)
    return "announces new blocks"
