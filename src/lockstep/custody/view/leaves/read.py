"""From a view to its leaves."""

from __future__ import annotations

from lockstep.chains.evm import ZERO_ADDRESS
from lockstep.custody.view.leaves.calls import Call, Seen, Walk
from lockstep.custody.view.leaves.typed import see_typed_data
from lockstep.custody.view.leaves.types import Doubt, Leaf, LeafKind, Leaves
from lockstep.custody.view.types import RequestView


def leaves_of(view: RequestView) -> Leaves:
    """What the request moves; where that cannot be told, the doubts say what may be concerned."""
    if view.parts:
        found = [leaves_of(part) for part in view.parts]
        return Leaves(
            tuple(leaf for one in found for leaf in one.leaves), tuple(doubt for one in found for doubt in one.doubts)
        )
    if view.authorization is not None:
        return _leaves_of_delegation(view)
    call = view.call
    if call is not None and call.to is None:
        # New code can use what comes along, and has no allowance yet.
        return Leaves((Leaf(LeafKind.TRANSFER, view.chain, None, call.value, None),) if call.value else ())
    if call is not None and call.to is not None:
        return _leaves(Walk(view.chain, view.from_address).see(Call(call.to, call.value, call.data)))
    if view.typed_data is not None:
        return _leaves(see_typed_data(view.typed_data, view.chain, view.from_address))
    if view.message is not None and len(view.message) != 32:
        return Leaves()
    # A message of 32 bytes may be the hash of an account's operation: Safes and ERC-4337 accounts take such signatures.
    return Leaves(doubts=(Doubt(None, None, "what this signature stands for cannot be read"),))


def _leaves_of_delegation(view: RequestView) -> Leaves:
    """Another account's delegation moves nothing of the wallet; taking one back does not either."""
    authority = view.fields["ethereum_7702_authorization.authority"]
    given = view.authorization
    if authority != view.from_address or given is None or given.contract == ZERO_ADDRESS:
        return Leaves()
    return Leaves(doubts=(Doubt(view.chain, None, "the account would run another contract's code"),))


def _leaves(seen: Seen) -> Leaves:
    return Leaves((*seen.native, *seen.tokens), seen.doubts)
