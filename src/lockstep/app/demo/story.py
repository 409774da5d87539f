"""The main story from the first actor to the balance sheet. Every claim is checked; nothing is left running."""

from __future__ import annotations

import asyncio
import io
import shutil
from contextlib import redirect_stdout
from pathlib import Path

from lockstep.app.demo import auditing, payment, swaps
from lockstep.app.demo import cast as actors
from lockstep.app.demo.cast import Cast
from lockstep.app.demo.report import Report
from lockstep.app.demo.swaps import LEAST, SOLD, Strangers, holdings
from lockstep.app.demo.watch import Watcher
from lockstep.app.devnet.devnet import DevnetConfig
from lockstep.app.stack import Stack, StackConfig
from lockstep.client import FINAL_SWAP_STATES, Subscription

_TOPICS = (
    Subscription(topic="transactions"),
    Subscription(topic="swaps"),
    Subscription(topic="orders", types=("order_created", "order_updated", "price_update")),
)


async def play(folder: Path) -> None:
    """Play the story in a devnet of its own.

    Raises:
        ClaimFailed: a claim does not hold. DevnetFailed: a part did not start. Nothing is left running either way.
    """
    report = Report()
    # The outside parties tell what they do as JSON lines; where the story calls them in this process, it tells instead.
    with redirect_stdout(io.StringIO()):
        await _play(folder, report)


async def _play(folder: Path, report: Report) -> None:
    report.act("Lockstep: every leg moves, or none does")
    stack = Stack(StackConfig(devnet=DevnetConfig(folder=folder), workers=0), progress=report.working)
    async with stack:
        crashes = stack.devnet.folder / "crashes"
        shutil.rmtree(crashes, ignore_errors=True)
        crashes.mkdir()
        cast = await actors.assemble(stack, report)
        strangers = await swaps.make_strangers(stack, cast)
        start = await _sheet(cast, strangers)
        async with Watcher(cast.app, *_TOPICS) as watcher:
            await payment.pay(stack, cast, watcher, report, crashes)
            await payment.refuse(cast, report)
            await actors.approve_factories(cast, report)
            await _swap(stack, cast, strangers, watcher, report)
        await auditing.tamper(stack, report)
        end = await _sheet(cast, strangers)
        report.show_timeline()
        _show_balances(cast, report, start, end)
    report.finish()


async def _swap(stack: Stack, cast: Cast, strangers: Strangers, watcher: Watcher, report: Report) -> None:
    finality = stack.devnet.config.finality_blocks
    async with swaps.own_nodes(cast, finality) as nodes:
        async with swaps.resolver_bot(stack, cast) as bot:
            # They want more than the bot pays, so the two stories run side by side.
            strangers_meet = asyncio.create_task(swaps.swap_of_strangers(stack, cast, strangers))
            first, opened = await swaps.auction(cast, nodes, watcher, bot, report)
            report.act("4 · Settlement: one swap with a managed resolver, one between strangers with their own keys")
            settling = asyncio.create_task(swaps.settle(cast, nodes, first, opened.id))
            second = await swaps.offer(cast, nodes, start_bump=0)
            second_id = await bot.wait_for_fact("order_taken", "order_hash", second.name, "swap_id")
            killing = asyncio.create_task(_kill_in_the_middle(stack, cast, second_id, report))
            settling_second = asyncio.create_task(swaps.settle(cast, nodes, second, second_id))
            maker, resolver, foreign_order = await strangers_meet
            managed = await settling
            report.happened(f"the managed swap ended: {managed.state}")
            report.claim(
                "the managed swap is settled", managed.state == "settled", seen=(managed.state, managed.reason)
            )
            ended = await maker.ended_well(120) and await resolver.ended_well(120)
            report.claim(
                "maker and resolver with their own keys traded: neither key was ever inside Lockstep",
                ended,
                seen=(maker.lines[-3:], resolver.lines[-3:]),
            )
            known = await cast.app.get_order(foreign_order)
            watched = await cast.app.wait_for(
                lambda: cast.app.get_order(foreign_order),
                lambda order: order.fills[0].settlement_state == "settled",
                what="the book to know that the strangers' swap is settled",
            )
            report.happened("the strangers' swap ended: settled")
            report.claim("the book knows it", watched.state == "filled", seen=known.state)
            report.act("6 · A worker is killed in the middle of a swap; another one finishes it")
            killed_at = await killing
            report.claim("the worker died in the middle", killed_at not in FINAL_SWAP_STATES, seen=killed_at)
            finished = await settling_second
            report.happened(f"the swap of the killed worker ended: {finished.state}")
            report.claim(
                "another worker settled it", finished.state == "settled", seen=(finished.state, finished.reason)
            )
        await swaps.abandoned(stack, cast, strangers, nodes, report)


async def _kill_in_the_middle(stack: Stack, cast: Cast, swap_id: str, report: Report) -> str:
    middle = ("source_locking", "source_locked", "destination_locking", "destination_locked", "both_final")
    seen = await swaps.wait_state(cast.maker.client, swap_id, middle)
    stack.roles["work-2"].wanted = False
    stack.kill_role("work-2")
    report.happened(f"worker 2 killed while the second swap was {seen.state}")
    stack.start_role("work-3", "work")
    return seen.state


async def _sheet(cast: Cast, strangers: Strangers) -> dict[str, tuple[int, int]]:
    accounts = {
        "maker": cast.maker.wallet.address,
        "resolver": cast.resolver.wallet.address,
        "stranger, maker": strangers.maker.address,
        "stranger, resolver": strangers.resolver.address,
    }
    return {name: await holdings(cast.sides, account) for name, account in accounts.items()}


def _show_balances(
    cast: Cast, report: Report, start: dict[str, tuple[int, int]], end: dict[str, tuple[int, int]]
) -> None:
    source, destination = cast.sides
    rows = [
        [
            name,
            source.words(start[name][0]),
            source.words(end[name][0]),
            destination.words(start[name][1]),
            destination.words(end[name][1]),
        ]
        for name in start
    ]
    header = ["", f"{source.symbol} before", "after", f"{destination.symbol} before", "after"]
    report.show_table("Balance sheet", header, rows)
    totals = [[sum(sheet[name][side] for name in sheet) for sheet in (start, end)] for side in (0, 1)]
    report.claim("no token was created or lost", all(before == after for before, after in totals), seen=totals)
    sold = source.amount(SOLD)
    report.claim(
        "two swaps of the maker and one of the strangers moved exactly what was sold",
        start["maker"][0] - end["maker"][0] == 2 * sold == end["resolver"][0] - start["resolver"][0]
        and start["stranger, maker"][0] - end["stranger, maker"][0] == sold,
        seen=(start, end),
    )
    report.claim(
        "each maker got at least what it asked for",
        end["maker"][1] - start["maker"][1] >= 2 * destination.amount(LEAST)
        and end["stranger, maker"][1] - start["stranger, maker"][1] >= destination.amount(LEAST),
        seen=(start, end),
    )
