"""Time: which locks can carry a swap, until when the destination may be locked, and when the secret may go out.

All moments are chain time, compared as half-open windows.
"""

from __future__ import annotations

from lockstep.settlement.rules.facts import Facts
from lockstep.settlement.types import ChainPairProfile, Side, TimeLocks


def duty_margin(profile: ChainPairProfile, side: Side) -> int:
    """Time that a public withdrawal needs before the cancellation of its side opens."""
    inclusion = profile.source_inclusion if side is Side.SOURCE else profile.destination_inclusion
    return profile.public_duty + inclusion + profile.clock_skew


def time_locks_fault(locks: TimeLocks, profile: ChainPairProfile) -> str | None:
    """Why these locks cannot carry a swap between two chains, as one sentence; None when they can.

    Source: swap rules 1 and 4: stages strictly ordered, room for finality and for the public withdrawal on both sides, and
    the least distance between both cancellations. A window of the source that nobody can hit would rob the taker: of the
    maker's tokens once it has paid on the destination, or of its safety deposit.
    """
    if not (
        0
        < locks.source_withdrawal
        < locks.source_public_withdrawal
        < locks.source_cancellation
        < locks.source_public_cancellation
    ):
        return "the source stages must be strictly ordered: 0 < withdrawal < public withdrawal < cancellation < public cancellation"
    if not 0 < locks.destination_withdrawal < locks.destination_public_withdrawal < locks.destination_cancellation:
        return "the destination stages must be strictly ordered: 0 < withdrawal < public withdrawal < cancellation"
    margin = duty_margin(profile, Side.DESTINATION)
    begin = max(locks.destination_public_withdrawal, profile.destination_finality)
    if begin + margin >= locks.destination_cancellation:
        return (
            f"the destination cancellation must be more than {begin + margin} seconds after the deployment,"
            f" was {locks.destination_cancellation}"
        )
    last = locks.source_cancellation - duty_margin(profile, Side.SOURCE)
    if locks.source_public_withdrawal >= last:
        return (
            f"the source public withdrawal must open before {last} seconds after the deployment,"
            f" was {locks.source_public_withdrawal}"
        )
    first = locks.source_cancellation + profile.source_inclusion + profile.clock_skew
    if locks.source_public_cancellation <= first:
        return (
            f"the source public cancellation must be more than {first} seconds after the deployment,"
            f" was {locks.source_public_cancellation}"
        )
    least = (
        profile.source_finality
        + profile.destination_inclusion
        + profile.clock_skew
        + locks.destination_cancellation
        + profile.cancellation_distance
    )
    if locks.source_cancellation < least:
        return (
            f"the source cancellation must be at least {least} seconds after the deployment,"
            f" was {locks.source_cancellation}"
        )
    return None


def last_destination_lock(facts: Facts) -> int:
    """Last moment of the destination chain at which a new escrow still keeps the distance between both cancellations."""
    return (
        facts.source_stages().cancellation
        - facts.profile.cancellation_distance
        - facts.time_locks.destination_cancellation
    )


def last_secret_release(facts: Facts) -> int:
    """First moment of the destination chain at which the secret may not be released any more."""
    profile, stages = facts.profile, facts.destination_stages()
    margin = duty_margin(profile, Side.DESTINATION)
    if stages.public_withdrawal + margin >= stages.cancellation:
        return 0
    return stages.cancellation - margin


def last_destination_withdrawal(facts: Facts) -> int:
    """First moment of the destination chain at which no withdrawal may be sent any more.

    One that is mined too late has shown the secret for nothing: anybody may then withdraw the source for the taker, and
    the maker is not paid. Where the source is withdrawn the secret is public, and the last chance is worth its gas.
    """
    end = facts.destination_stages().cancellation
    is_public = facts.source is not None and facts.source.is_withdrawn
    return end if is_public else end - facts.profile.destination_inclusion


def secret_release(facts: Facts) -> str | None:
    """Why the secret may not be released at these facts, as one sentence; None when it may.

    Source: swap rule 4: both escrows exist, fit the terms, are open and final, and
    ``max(now, public withdrawal) + duty + inclusion + skew < destination cancellation``; the distance between both
    cancellations is kept, as written and as measured by the two clocks now. Now is the time of the chain, or that of the
    host where it is ahead by more than the skew: then the node has stopped, and its chain is later than it says.
    """
    source, destination = facts.source, facts.destination
    if source is None or destination is None:
        return "both escrows must exist"
    if source.mismatch is not None or destination.mismatch is not None:
        return f"an escrow does not fit the terms: {source.mismatch or destination.mismatch}"
    if not source.is_open or not destination.is_open:
        return "both escrows must be open"
    if not source.is_final or not destination.is_final:
        return "both escrows must be final"
    distance = facts.source_stages().cancellation - facts.destination_stages().cancellation
    if distance < facts.profile.cancellation_distance:
        return (
            f"the source cancellation must be at least {facts.profile.cancellation_distance} seconds after the"
            f" destination cancellation, was {distance}"
        )
    least_time = facts.host_time - facts.profile.clock_skew
    destination_time = max(facts.destination_time, least_time)
    left_on_source = facts.source_stages().cancellation - max(facts.source_time, least_time)
    left_on_destination = facts.destination_stages().cancellation - destination_time
    if left_on_source - left_on_destination < facts.profile.cancellation_distance - facts.profile.clock_skew:
        return "the clocks of both chains stand too far apart: the source could be cancelled too early"
    if destination_time >= last_secret_release(facts):
        return "the public withdrawal could not be included safely before the destination cancellation"
    return None
