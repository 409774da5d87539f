"""A payment under guard: shown, decided, signed, sent by a worker that is killed, finished by another one, once."""

from __future__ import annotations

from pathlib import Path

from lockstep.app.demo.cast import MOST_PAYMENT, PAYEE, Cast
from lockstep.app.demo.report import ClaimFailed, Report
from lockstep.app.demo.watch import Watcher
from lockstep.app.devnet.machine import until
from lockstep.app.stack import Stack
from lockstep.client import AsyncClient, ProblemError

AMOUNT = 25 * 10**16
KILLED_AT = "transaction.broadcast.after_effect"


async def pay(stack: Stack, cast: Cast, watcher: Watcher, report: Report, crash_folder: Path) -> None:
    """Pay, and kill the worker between sending and recording."""
    report.act("2 · A payment under guard, and a worker killed with kill -9 while it sends")
    maker, side = cast.maker, cast.sides[0]
    params = {"transaction": {"to": PAYEE, "value": str(AMOUNT)}}
    shown = await maker.client.preview(maker.wallet.id, "eth_sendTransaction", params, chain=side.chain)
    report.say(f"preview: {shown.view.sentence}")
    report.say(f"verdict: {shown.verdict.reason}   digest {shown.digest[:18]}…")
    report.claim("the policy allows it before anything is signed", shown.verdict.allowed, seen=shown.verdict)

    before = await side.coins_of(PAYEE), await side.sent_by(maker.wallet.address)
    victim = stack.start_role(
        "work-1", "work", {"LOCKSTEP_CRASH_FOLDER": str(crash_folder), "LOCKSTEP_CRASH_STEPS": KILLED_AT}
    )
    victim.wanted = False
    sent = await maker.client.send_transaction(
        maker.wallet.id, side.chain, to=PAYEE, value=AMOUNT, preview_digest=shown.digest
    )
    died = await until(lambda: victim.process.poll() is not None, 60)
    report.claim(
        "the worker died by SIGKILL after the node had the bytes and before the database knew",
        died and victim.process.returncode == -9 and (crash_folder / KILLED_AT).exists(),
        seen=victim.process.returncode,
    )
    report.happened("worker 1 killed in the middle of the payment")
    stack.start_role("work-2", "work")
    done = await maker.client.wait_transaction(sent)
    report.happened(f"worker 2 finished the payment in block {done.block_number}")
    after = await side.coins_of(PAYEE), await side.sent_by(maker.wallet.address)
    report.claim(
        "the payment is final and successful", done.state == "final" and done.succeeded is True, seen=done.state
    )
    report.claim(
        f"exactly one payment of {AMOUNT / 10**18:g} coins arrived, with exactly one nonce",
        (after[0] - before[0], after[1] - before[1]) == (AMOUNT, 1),
        seen=(before, after),
    )
    final = await watcher.wait("transactions", "transaction_updated", sent)
    states = [event.data["state"] for event in watcher.events if event.topic == "transactions" and event.id == sent]
    report.claim(
        f"the stream told every step in order: {' → '.join(dict.fromkeys(states))}",
        final is not None and states[-1] == "final" and not watcher.has_gaps(),
        seen=states,
    )


async def refuse(cast: Cast, report: Report) -> None:
    """Transfers outside the policies."""
    report.act("5a · Outside the policy nothing is signed")
    maker, side = cast.maker, cast.sides[0]
    refused = await _refusal(maker.client, maker.wallet.id, side.chain, PAYEE, MOST_PAYMENT + 1)
    report.say(f"one wei above the limit: {refused.detail}")
    report.claim(
        "a payment above the limit is denied with its reason", refused.code == "policy_denied", seen=refused.code
    )
    stranger = "0x000000000000000000000000000000000000dead"
    refused = await _refusal(maker.client, maker.wallet.id, side.chain, stranger, 1)
    report.claim("a payment to a stranger is denied", refused.code == "policy_denied", seen=refused.code)
    refused = await _refusal(cast.bot, cast.resolver.wallet.id, side.chain, PAYEE, 1)
    report.claim(
        "what the resolver's wallet may pay, its bot may not: a session only narrows",
        refused.status == 403,
        seen=refused.code,
    )
    waiting = (await maker.client.list_transactions(wallet_id=maker.wallet.id, state="queued")).items
    report.claim("nothing was queued", not waiting, seen=waiting)


async def _refusal(client: AsyncClient, wallet_id: str, chain: str, to: str, value: int) -> ProblemError:
    try:
        sent = await client.send_transaction(wallet_id, chain, to=to, value=value)
    except ProblemError as error:
        return error
    raise ClaimFailed(f"the transfer of {value} to {to} was not refused but queued as {sent}")
