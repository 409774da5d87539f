"""Leaves of calls: token functions by their selectors, and the wrappers of calls that we can see through.

What a contract may do with a caller's assets is bounded by what came along, by the allowances that it was given before
(which counted then) and, where it is a token, by that token. So an unknown call puts only its own contract in doubt as a
token. A wrapper acts for an account that the key controls: where its inside cannot be read, everything is in doubt. So it
is where an account calls itself, the wallet included: code that it delegates to (EIP-7702) has all its powers.

Sources: ERC-20, EIP-2612, Permit2 (AllowanceTransfer), Multicall3, Safe 1.3 and 1.4, ERC-4337 accounts, ERC-7579, ERC-7821.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeAlias

from lockstep.chains.evm import ZERO_ADDRESS, address_from_bytes, function_selector
from lockstep.custody.view.calldata import decode_arguments, split_types
from lockstep.custody.view.leaves.types import UNLIMITED, Doubt, Leaf, LeafKind

MAX_DEPTH: Final = 4
"""Wrappers around a call."""
MAX_CALLS: Final = 64
"""Calls within one request, wrappers included."""
MULTI_SENDS: Final = frozenset(
    {
        "0x8d29be29923b68abfdd21e541b9374737b49cdad",  # 1.1.1
        "0xa238cbeb142c10ef7ad8442c6d1f9e89e07e7761",  # 1.3.0
        "0x998739bfdaadde7c933b942a68053933098f9eda",
        "0x40a2accbd92bca938b02010e17a5b8929b49130d",  # 1.3.0, calls only
        "0xa1dabef33b3b82c7814b6d82a79e50f4ac44102b",
        "0x38869bf66a61cf6bdb996a6ae40d5853fd43b526",  # 1.4.1
        "0x9641d764fc13c8b624c04430c7356c1c7c8102e2",  # 1.4.1, calls only
    }
)
"""Contracts whose code a Safe may run as its own: they only forward calls. Any other code could do anything."""


class Call(NamedTuple):
    """One call inside of another."""

    to: str
    value: int
    data: bytes
    is_delegate: bool = False
    """Whether the callee's code runs with the account's own powers."""


class Seen(NamedTuple):
    """What a call moves: native coin and tokens apart, for they add up in different ways."""

    native: tuple[Leaf, ...]
    tokens: tuple[Leaf, ...]
    doubts: tuple[Doubt, ...]


_Moves: TypeAlias = Callable[[str, Any], Sequence[tuple[LeafKind, str, int, str]]]
"""From callee and arguments to (kind, token, amount, to)."""
_Unwraps: TypeAlias = Callable[[str, Any], Sequence[Call] | None]
"""From callee and arguments to the calls inside; None where they cannot be read."""


@dataclass(frozen=True, slots=True)
class _Known:
    """A function that we know."""

    types: tuple[str, ...]
    moves: _Moves | None = None
    unwraps: _Unwraps | None = None
    is_far: bool = False
    """Whether it concerns more than the contract that is called."""
    is_account: bool = False
    """Whether the contract that is called acts as an account."""


class Walk:
    """Walks through the calls of one request."""

    def __init__(self, chain: str | None, account: str) -> None:
        self._chain = chain
        self._accounts = {account}
        """Those that act here: the wallet, and the accounts that it acts through."""
        self._calls = 0

    def see(self, call: Call, depth: int = 0) -> Seen:
        """What a call moves, with everything inside it."""
        self._calls += 1
        if self._calls > MAX_CALLS:
            return self._doubt(f"more than {MAX_CALLS} calls in one request")
        known = _KNOWN.get(call.data[:4]) if len(call.data) >= 4 else None
        if call.is_delegate and not (call.to in MULTI_SENDS and known is _MULTI_SEND):
            return self._doubt("another contract's code would run as the account's own")
        native = self._native(call.to, call.value)
        if not call.data:
            return Seen(native, (), ())
        if call.to in self._accounts and (known is None or known.unwraps is None):
            return self._doubt("an account calls itself")
        arguments = None if known is None else decode_arguments(known.types, call.data[4:])
        if known is None or arguments is None:
            if known is not None and known.is_far:
                return self._doubt("a call that concerns other contracts is not in canonical form")
            return Seen(native, (), (Doubt(self._chain, call.to, "an unknown call of this contract"),))
        if known.moves is not None:
            tokens = tuple(
                Leaf(kind, self._chain, token, amount, to)
                for kind, token, amount, to in known.moves(call.to, arguments)
                if amount
            )
            return Seen(native, tokens, ())
        return self._unwrap(call, known, arguments, native, depth)

    def _unwrap(self, call: Call, known: _Known, arguments: Any, native: tuple[Leaf, ...], depth: int) -> Seen:
        assert known.unwraps is not None  # a known function moves or unwraps
        inner = known.unwraps(call.to, arguments)
        if inner is None:
            return self._doubt("what a call wraps cannot be read")
        if known.is_account:
            self._accounts.add(call.to)
        if depth == MAX_DEPTH:
            return self._doubt(f"calls wrapped more than {MAX_DEPTH} times")
        seen = [self.see(one, depth + 1) for one in inner]
        # What came along pays for the calls inside, or the account does: the larger of both leaves, not their sum.
        inside = tuple(leaf for one in seen for leaf in one.native)
        most = inside if _total(inside) > _total(native) else native
        return Seen(
            most,
            tuple(leaf for one in seen for leaf in one.tokens),
            tuple(doubt for one in seen for doubt in one.doubts),
        )

    def _native(self, to: str, value: int) -> tuple[Leaf, ...]:
        return (Leaf(LeafKind.TRANSFER, self._chain, None, value, to),) if value else ()

    def _doubt(self, reason: str) -> Seen:
        return Seen((), (), (Doubt(self._chain, None, reason),))


def _total(leaves: Sequence[Leaf]) -> int:
    return sum(leaf.amount for leaf in leaves)


def calls_of_account(account: str, data: bytes) -> Sequence[Call] | None:
    """The calls that an account makes when its owner or entry point hands it this data; None where that cannot be told."""
    known = _KNOWN.get(data[:4]) if data[:4] in _OF_ACCOUNTS else None
    arguments = None if known is None else decode_arguments(known.types, data[4:])
    if known is None or known.unwraps is None or arguments is None:
        return None
    calls = known.unwraps(account, arguments)
    return calls if calls is not None and 0 < len(calls) <= MAX_CALLS else None


# --- functions of tokens and of Permit2 -------------------------------------------------------------------------------


def _transfer(token: str, args: Any) -> list[tuple[LeafKind, str, int, str]]:
    return [(LeafKind.TRANSFER, token, args[1], args[0])]


def _transfer_from(token: str, args: Any) -> list[tuple[LeafKind, str, int, str]]:
    return [(LeafKind.TRANSFER, token, args[2], args[1])]


def _allow(token: str, args: Any) -> list[tuple[LeafKind, str, int, str]]:
    return [(LeafKind.ALLOWANCE, token, args[1], args[0])]


def _allow_all(token: str, args: Any) -> list[tuple[LeafKind, str, int, str]]:
    return [(LeafKind.ALLOWANCE, token, UNLIMITED, args[0])] if args[1] else []


def _permit2_allow(_permit2: str, args: Any) -> list[tuple[LeafKind, str, int, str]]:
    token, spender, amount, _ = args
    return [(LeafKind.ALLOWANCE, token, amount, spender)]


def _permit2_transfer(_permit2: str, args: Any) -> list[tuple[LeafKind, str, int, str]]:
    _, to, amount, token = args
    return [(LeafKind.TRANSFER, token, amount, to)]


def _permit2_transfers(_permit2: str, args: Any) -> list[tuple[LeafKind, str, int, str]]:
    return [(LeafKind.TRANSFER, token, amount, to) for _, to, amount, token in args[0]]


def _nothing(_to: str, _args: Any) -> list[tuple[LeafKind, str, int, str]]:
    """Takes power back, or hands in an authorization that counted when it was signed."""
    return []


_MOVING: dict[str, _Moves] = {
    "transfer(address,uint256)": _transfer,
    "transferAndCall(address,uint256)": _transfer,
    "transferAndCall(address,uint256,bytes)": _transfer,
    "transferFrom(address,address,uint256)": _transfer_from,
    "approve(address,uint256)": _allow,
    "approveAndCall(address,uint256)": _allow,
    "approveAndCall(address,uint256,bytes)": _allow,
    "increaseAllowance(address,uint256)": _allow,
    "increaseApproval(address,uint256)": _allow,
    "setApprovalForAll(address,bool)": _allow_all,
    "approve(address,address,uint160,uint48)": _permit2_allow,
    "transferFrom(address,address,uint160,address)": _permit2_transfer,
    "transferFrom((address,address,uint160,address)[])": _permit2_transfers,
    "decreaseAllowance(address,uint256)": _nothing,
    "decreaseApproval(address,uint256)": _nothing,
    "permit(address,address,uint256,uint256,uint8,bytes32,bytes32)": _nothing,
    "permit(address,address,uint256,uint256,bool,uint8,bytes32,bytes32)": _nothing,
    "transferWithAuthorization(address,address,uint256,uint256,uint256,bytes32,uint8,bytes32,bytes32)": _nothing,
    "receiveWithAuthorization(address,address,uint256,uint256,uint256,bytes32,uint8,bytes32,bytes32)": _nothing,
    "deposit()": _nothing,
}


# --- wrappers ---------------------------------------------------------------------------------------------------------


def safe_call(to: str, value: int, data: bytes, operation: int, gas_price: int) -> Call | None:
    """The call that a Safe would make; None where it is none that can be told, or where the Safe also pays for gas."""
    return None if operation > 1 or gas_price else Call(to, value, data, operation == 1)


def _own(*, place: int) -> _Unwraps:
    """Calls of the same contract, in one argument."""
    return lambda to, args: [Call(to, 0, data) for data in args[place]]


def _listed(*, place: int) -> _Unwraps:
    """(target, …, data) entries in one argument, with a value where there are four or the second is a number."""

    def unwrap(_to: str, args: Any) -> list[Call]:
        return [Call(entry[0], _value_of(entry), entry[-1]) for entry in args[place]]

    return unwrap


def _value_of(entry: Sequence[Any]) -> int:
    return next((part for part in entry[1:-1] if type(part) is int), 0)


def _execute(_account: str, args: Any) -> list[Call]:
    return [Call(args[0], args[1], args[2])]


def _execute_batch(_account: str, args: Any) -> list[Call] | None:
    *targets, datas = args
    values = targets[1] if len(targets) == 2 else (0,) * len(datas)
    if len(values) == 0:  # accounts of ERC-4337 take no values for zeros
        values = (0,) * len(datas)
    if not len(targets[0]) == len(values) == len(datas):
        return None
    return [Call(*one) for one in zip(targets[0], values, datas, strict=True)]


def _execute_modular(account: str, args: Any) -> list[Call] | None:
    """ERC-7579 and ERC-7821: single or batched calls, any way to handle errors; code of others is not told apart."""
    mode, packed = args
    if mode[0] == 0x00 and len(packed) >= 52:
        return [Call(_named(packed[:20], account), int.from_bytes(packed[20:52], "big"), packed[52:])]
    if mode[0] != 0x01:
        return None
    entries = "(address,uint256,bytes)[]"
    read = decode_arguments((entries,), packed) or decode_arguments((entries, "bytes"), packed)
    if read is None:
        return None
    return [Call(account if to == ZERO_ADDRESS else to, value, data) for to, value, data in read[0]]


def _named(raw: bytes, account: str) -> str:
    address = address_from_bytes(raw)
    return account if address == ZERO_ADDRESS else address


def _safe_execute(_safe: str, args: Any) -> list[Call] | None:
    to, value, data, operation, _safe_gas, _base_gas, gas_price, *_ = args
    call = safe_call(to, value, data, operation, gas_price)
    return None if call is None else [call]


def _module_execute(_safe: str, args: Any) -> list[Call] | None:
    to, value, data, operation = args
    call = safe_call(to, value, data, operation, 0)
    return None if call is None else [call]


def _multi_send(_to: str, args: Any) -> list[Call] | None:
    """Packed entries: operation, target, value, length of the data, data."""
    packed, calls, at = args[0], [], 0
    while at < len(packed):
        head = packed[at : at + 85]
        length = int.from_bytes(head[53:85], "big")
        at += 85 + length
        if len(head) < 85 or at > len(packed):
            return None
        call = safe_call(
            address_from_bytes(head[1:21]), int.from_bytes(head[21:53], "big"), packed[at - length : at], head[0], 0
        )
        if call is None:
            return None
        calls.append(call)
    return calls


_WRAPPING: dict[str, _Unwraps] = {
    "multicall(bytes[])": _own(place=0),
    "multicall(uint256,bytes[])": _own(place=1),
    "multicall(bytes32,bytes[])": _own(place=1),
    "aggregate((address,bytes)[])": _listed(place=0),
    "blockAndAggregate((address,bytes)[])": _listed(place=0),
    "tryAggregate(bool,(address,bytes)[])": _listed(place=1),
    "tryBlockAndAggregate(bool,(address,bytes)[])": _listed(place=1),
    "aggregate3((address,bool,bytes)[])": _listed(place=0),
    "aggregate3Value((address,bool,uint256,bytes)[])": _listed(place=0),
    "execute(address,uint256,bytes)": _execute,
    "executeBatch(address[],bytes[])": _execute_batch,
    "executeBatch(address[],uint256[],bytes[])": _execute_batch,
    "executeBatch((address,uint256,bytes)[])": _listed(place=0),
    "execute(bytes32,bytes)": _execute_modular,
    "executeFromExecutor(bytes32,bytes)": _execute_modular,
    "execTransaction(address,uint256,bytes,uint8,uint256,uint256,uint256,address,address,bytes)": _safe_execute,
    "execTransactionFromModule(address,uint256,bytes,uint8)": _module_execute,
    "multiSend(bytes)": _multi_send,
}


def _types(signature: str) -> tuple[str, ...]:
    inner = signature[signature.index("(") + 1 : -1]
    return tuple(split_types(inner)) if inner else ()


_KNOWN: dict[bytes, _Known] = {
    **{
        function_selector(name): _Known(_types(name), moves=moves, is_far="uint160" in name)
        for name, moves in _MOVING.items()
    },
    **{
        function_selector(name): _Known(_types(name), unwraps=unwraps, is_far=True, is_account=name.startswith("exec"))
        for name, unwraps in _WRAPPING.items()
    },
}
_OF_ACCOUNTS = frozenset(
    function_selector(name)
    for name in (
        "execute(address,uint256,bytes)",
        "executeBatch(address[],bytes[])",
        "executeBatch(address[],uint256[],bytes[])",
        "executeBatch((address,uint256,bytes)[])",
        "execute(bytes32,bytes)",
    )
)
_MULTI_SEND = _KNOWN[function_selector("multiSend(bytes)")]
