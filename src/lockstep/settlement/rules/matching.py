"""Whether an escrow is exactly the one that the terms ask for: every field, the taker and the factory."""

from __future__ import annotations

from lockstep.settlement.types import NO_FEES, Lock, Side, SwapTerms


def match_source(terms: SwapTerms, lock: Lock) -> str | None:
    """The first field in which a source escrow differs from the terms at the price of its block, or None.

    Source: swap rules 1, 2 and 3. Deposits may exceed the minimum; everything else is equal.
    """
    words, other = lock.immutables, lock.terms
    if lock.side is not Side.SOURCE or other is None:
        return "side"
    locks = terms.time_locks.pack(lock.block_time)
    return _first_difference(
        (
            ("chain", lock.chain, terms.source_chain),
            ("factory", lock.factory, terms.source_factory),
            ("order hash", words.order_hash, terms.order_hash),
            ("fill index", lock.fill_index, terms.fill_index),
            ("hashlock", words.hashlock, terms.hashlock),
            ("maker", words.maker, terms.maker),
            ("taker", words.taker, terms.taker),
            ("token", words.token, terms.source_token),
            ("amount", words.amount, terms.source_amount),
            ("time locks", words.time_locks, locks),
            ("parameters", words.parameters, NO_FEES),
            ("destination chain", other.chain, terms.destination_chain),
            ("destination factory", other.factory, terms.destination_factory),
            ("destination token", other.token, terms.destination_token),
            ("destination receiver", other.receiver, terms.receiver),
            ("destination amount", other.amount, terms.destination_amount),
        )
    ) or _first_short(
        (
            ("safety deposit", words.safety_deposit, terms.source_deposit),
            ("destination safety deposit", other.safety_deposit, terms.destination_deposit),
        )
    )


def match_destination(terms: SwapTerms, source: Lock, lock: Lock) -> str | None:
    """The first field in which a destination escrow differs from what the source factory emitted, or None.

    `source` must have passed `match_source`. A stranger's escrow with the same order hash differs in its taker.
    """
    words, other = lock.immutables, source.terms
    if lock.side is not Side.DESTINATION or other is None:
        return "side"
    locks = terms.time_locks.pack(lock.block_time)
    return _first_difference(
        (
            ("chain", lock.chain, other.chain),
            ("factory", lock.factory, other.factory),
            ("order hash", words.order_hash, source.immutables.order_hash),
            ("hashlock", words.hashlock, source.immutables.hashlock),
            ("receiver", words.maker, other.receiver),
            ("taker", words.taker, source.immutables.taker),
            ("token", words.token, other.token),
            ("amount", words.amount, other.amount),
            ("time locks", words.time_locks, locks),
            ("parameters", words.parameters, NO_FEES),
        )
    ) or _first_short((("safety deposit", words.safety_deposit, other.safety_deposit),))


def _first_difference(rows: tuple[tuple[str, object, object], ...]) -> str | None:
    return next((name for name, found, wanted in rows if found != wanted), None)


def _first_short(rows: tuple[tuple[str, int, int], ...]) -> str | None:
    return next((name for name, found, least in rows if found < least), None)
