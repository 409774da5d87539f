"""Escrows on both sides of a swap, and the coordinator that finishes or undoes it.

Knows escrows, swaps, secrets and time; does not know orders, prices or wallets' keys. What an order hash stands for it
asks the book (`OrderBook`); every leg is a transaction of the one engine (`LegSender`).
"""

from lockstep.settlement.api import router
from lockstep.settlement.errors import (
    FillTaken,
    FollowerBehind,
    NotAParty,
    PairUnknown,
    SecretMismatch,
    SecretNotReleased,
    SecretTooEarly,
    SecretTooLate,
    SwapMoved,
    SwapNotFound,
    TimeLocksUnfit,
)
from lockstep.settlement.escrows import Call, EscrowEvent
from lockstep.settlement.follower import NAME, EscrowFollower
from lockstep.settlement.ports import OrderBook
from lockstep.settlement.process import Coordinator, LegSender, SwapProcess
from lockstep.settlement.reads import LegStates, Profiles, SwapReader
from lockstep.settlement.rules import OPEN_STATES, TERMINAL_STATES, Leg, LegStatus, SwapState, time_locks_fault
from lockstep.settlement.schemas import SwapOut
from lockstep.settlement.service import KIND, SwapService, describe
from lockstep.settlement.types import (
    NO_FEES,
    ChainPairProfile,
    Immutables,
    Offer,
    Party,
    Swap,
    SwapId,
    SwapTerms,
    TakerMode,
    TimeLocks,
    clone_address,
)

__all__ = [
    "KIND",
    "NAME",
    "NO_FEES",
    "OPEN_STATES",
    "TERMINAL_STATES",
    "Call",
    "ChainPairProfile",
    "Coordinator",
    "EscrowEvent",
    "EscrowFollower",
    "FillTaken",
    "FollowerBehind",
    "Immutables",
    "Leg",
    "LegSender",
    "LegStates",
    "LegStatus",
    "NotAParty",
    "Offer",
    "OrderBook",
    "PairUnknown",
    "Party",
    "Profiles",
    "SecretMismatch",
    "SecretNotReleased",
    "SecretTooEarly",
    "SecretTooLate",
    "Swap",
    "SwapId",
    "SwapMoved",
    "SwapNotFound",
    "SwapOut",
    "SwapProcess",
    "SwapReader",
    "SwapService",
    "SwapState",
    "SwapTerms",
    "TakerMode",
    "TimeLocks",
    "TimeLocksUnfit",
    "clone_address",
    "describe",
    "router",
    "time_locks_fault",
]
