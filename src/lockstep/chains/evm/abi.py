"""Contract ABI: encode calls, decode calls, results, events and reverts; canonical bytes only.

What decodes here encodes to the same bytes again, so that nobody acts on a reading that the contract does not share.
Structs go in as mappings or sequences and come out as dictionaries by member name. Does not call anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

from eth_abi.abi import encode as _encode
from eth_abi.exceptions import EncodingError, ParseError

from lockstep.chains.evm.addresses import keccak256
from lockstep.chains.evm.artifacts import Artifact, artifact_names, load_artifact
from lockstep.chains.evm.decoding import decode_values, split_types
from lockstep.chains.evm.errors import MalformedCalldata
from lockstep.chains.evm.outcomes import printable
from lockstep.chains.evm.types import Hash32
from lockstep.chains.evm.wire import Log

Abi = Sequence[Mapping[str, Any]]
MAX_REASON = 500

_PANICS = {
    0x01: "assertion failed",
    0x11: "arithmetic overflow or underflow",
    0x12: "division by zero",
    0x21: "not a value of the enum",
    0x22: "broken storage byte array",
    0x31: "pop on an empty array",
    0x32: "index out of bounds",
    0x41: "out of memory",
    0x51: "call of an uninitialised function",
}


def abi_encode(types: Sequence[str], values: Sequence[object]) -> bytes:
    """Standard ABI encoding of a tuple.

    Raises:
        MalformedCalldata: a value outside its type.
    """
    try:
        return bytes(_encode(list(types), list(values)))
    except (EncodingError, ParseError, TypeError, ValueError, OverflowError) as error:
        raise MalformedCalldata(f"cannot be encoded as ({','.join(types)}): {error}") from error


def abi_decode(types: Sequence[str], raw: bytes) -> tuple[Any, ...]:
    """Decode a tuple, strictly: only bytes that encoding the values again would give.

    Raises:
        MalformedCalldata: cut off, dirty padding, trailing bytes or any other form that is not canonical.
    """
    try:
        return decode_values(types, raw)
    except ValueError as error:
        raise MalformedCalldata(f"cannot be decoded as ({','.join(types)}): {error}") from error


def function_selector(signature: str) -> bytes:
    """First four bytes of the hash of a canonical signature: ``transfer(address,uint256)`` is a9059cbb."""
    return keccak256(signature.encode())[:4]


def event_topic(signature: str) -> Hash32:
    """Topic 0 of an event's canonical signature."""
    return keccak256(signature.encode())


def abi_encode_call(signature: str, values: Sequence[object]) -> bytes:
    """Calldata of a function given by its canonical signature, for calls without an artefact.

    Raises:
        MalformedCalldata: the signature is not one, or a value is outside its type.
    """
    return function_selector(signature) + abi_encode(_signature_types(signature), values)


def decode_revert(data: bytes, contract: Contract | None = None) -> str:
    """Reason in revert data, for people: a message, a panic, a custom error, or the bytes.

    Args:
        contract: whose custom errors are meant; None: any of the contracts that we ship, which know those of ERC-20.
    Returns:
        Printable text of at most `MAX_REASON` characters before its escapes: the words are the contract's.
    """
    return printable(_reason(data, contract)[:MAX_REASON])


def _reason(data: bytes, contract: Contract | None) -> str:
    if not data:
        return "reverted without a reason"
    try:
        if data[:4] == bytes.fromhex("08c379a0"):
            return str(abi_decode(["string"], data[4:])[0])
        if data[:4] == bytes.fromhex("4e487b71"):
            code = int(abi_decode(["uint256"], data[4:])[0])
            return f"panic 0x{code:02x}: {_PANICS.get(code, 'unknown code')}"
    except MalformedCalldata:
        return f"reverted with 0x{data[:64].hex()}"
    found = (contract or _shipped_errors()).decode_error(data)
    return found or f"reverted with 0x{data[:64].hex()}"


@cache
def _shipped_errors() -> Contract:
    """The custom errors of all contracts that ship with the package; equal selectors mean equal signatures there."""
    artifacts = [load_artifact(name) for name in artifact_names()]
    return Contract([entry for artifact in artifacts for entry in artifact.abi if entry.get("type") == "error"])


@dataclass(frozen=True, slots=True)
class FunctionCall:
    """A decoded call."""

    name: str
    signature: str
    args: dict[str, Any]


@dataclass(frozen=True, slots=True)
class DecodedEvent:
    """A decoded log entry of a known event."""

    name: str
    signature: str
    args: dict[str, Any]


@dataclass(frozen=True)
class AbiFunction:
    """One function (or error) of an ABI."""

    name: str
    inputs: Abi
    outputs: Abi
    payable: bool
    view: bool

    @cached_property
    def types(self) -> list[str]:
        return [_canonical(entry) for entry in self.inputs]

    @cached_property
    def signature(self) -> str:
        return f"{self.name}({','.join(self.types)})"

    @cached_property
    def selector(self) -> bytes:
        return function_selector(self.signature)


@dataclass(frozen=True)
class AbiEvent:
    """One event of an ABI."""

    name: str
    inputs: Abi

    @cached_property
    def signature(self) -> str:
        return f"{self.name}({','.join(_canonical(entry) for entry in self.inputs)})"

    @cached_property
    def topic(self) -> Hash32:
        return event_topic(self.signature)

    @cached_property
    def indexed(self) -> list[tuple[str, str | None]]:
        """Name and type of each member in a topic; None: the topic is the hash of a value of a dynamic type."""
        entries = [(entry["name"], _canonical(entry)) for entry in self.inputs if entry.get("indexed")]
        return [(name, None if _is_hashed(kind) else kind) for name, kind in entries]

    @cached_property
    def plain(self) -> Abi:
        """The members in the data."""
        return [entry for entry in self.inputs if not entry.get("indexed")]

    @cached_property
    def plain_types(self) -> list[str]:
        return [_canonical(entry) for entry in self.plain]

    @cached_property
    def names(self) -> list[str]:
        return [entry["name"] for entry in self.inputs]


class Contract:
    """The codec of one contract's ABI. Knows no address and calls nothing."""

    def __init__(self, artifact: Artifact | Abi, name: str = "contract") -> None:
        """
        Raises:
            ValueError: two functions (or two events) share one selector; nobody could tell them apart.
        """
        abi = artifact.abi if isinstance(artifact, Artifact) else artifact
        self.name = artifact.name if isinstance(artifact, Artifact) else name
        self.bytecode = artifact.bytecode if isinstance(artifact, Artifact) else b""
        self.abi = abi
        self._functions = _functions(abi, "function")
        self._errors = _functions(abi, "error")
        self._events = [AbiEvent(entry["name"], entry["inputs"]) for entry in abi if entry.get("type") == "event"]
        self._event_by_topic = {event.topic: event for event in self._events}
        self._constructor: Abi = next((entry["inputs"] for entry in abi if entry.get("type") == "constructor"), [])
        for what in ([f.selector for f in self._functions], [e.topic for e in self._events]):
            if len(set(what)) != len(what):
                raise ValueError(f"{self.name}: two entries of the ABI share one selector")

    @classmethod
    def load(cls, name: str) -> Contract:
        """The codec of a contract of ours, by name."""
        return cls(load_artifact(name))

    def function(self, name: str) -> AbiFunction:
        """A function by name, or by full signature where the name is overloaded.

        Raises:
            KeyError: none, or more than one.
        """
        found = [f for f in self._functions if name in (f.name, f.signature)]
        if len(found) != 1:
            raise KeyError(f"{self.name} has {len(found)} functions {name!r}")
        return found[0]

    def event(self, name: str) -> AbiEvent:
        """An event by name or full signature."""
        found = [e for e in self._events if name in (e.name, e.signature)]
        if len(found) != 1:
            raise KeyError(f"{self.name} has {len(found)} events {name!r}")
        return found[0]

    def selector(self, name: str) -> bytes:
        """Four-byte selector of a function."""
        return self.function(name).selector

    def topic(self, name: str) -> Hash32:
        """Topic 0 of an event."""
        return self.event(name).topic

    def encode(self, name: str, args: Sequence[object] | Mapping[str, object] = ()) -> bytes:
        """Calldata of a call.

        Args:
            name: function name, or full signature when overloaded.
            args: in the order of the ABI or by name; structs as mappings or sequences.
        Raises:
            MalformedCalldata: a value outside its type, a member missing or unknown.
        """
        function = self.function(name)
        return function.selector + abi_encode(function.types, _to_tuple(function.inputs, args))

    def encode_deploy(self, args: Sequence[object] | Mapping[str, object] = ()) -> bytes:
        """Creation code with its constructor arguments."""
        types = [_canonical(entry) for entry in self._constructor]
        return self.bytecode + abi_encode(types, _to_tuple(self._constructor, args))

    def decode_call(self, data: bytes) -> FunctionCall | None:
        """What calldata says; None when the function is not of this ABI.

        Raises:
            MalformedCalldata: the arguments are not in canonical form.
        """
        for function in self._functions:
            if data[:4] == function.selector:
                values = abi_decode(function.types, data[4:])
                return FunctionCall(function.name, function.signature, _to_dict(function.inputs, values))
        return None

    def decode_result(self, name: str, data: bytes) -> Any:
        """The result of a call: the value where there is one, a tuple where there are several; structs as dictionaries."""
        function = self.function(name)
        values = abi_decode([_canonical(entry) for entry in function.outputs], data)
        named = tuple(_name(entry, value) for entry, value in zip(function.outputs, values, strict=True))
        return named[0] if len(named) == 1 else named

    def decode_event(self, log: Log | Mapping[str, Any]) -> DecodedEvent | None:
        """The event in a log entry (or its `topics` and `data`, as bytes or 0x hex); None when it is not of this ABI.

        An indexed value of a dynamic type is its hash: bytes.

        Raises:
            MalformedCalldata: the log does not hold what the event says.
        """
        raw_topics, raw_data = (log.topics, log.data) if isinstance(log, Log) else (log["topics"], log["data"])
        topics = [_as_bytes(topic) for topic in raw_topics]
        event = self._event_by_topic.get(topics[0]) if topics else None
        if event is None or len(topics) != len(event.indexed) + 1:
            return None  # the same signature with other members indexed is another contract's event
        args: dict[str, Any] = {}
        for (name, kind), topic in zip(event.indexed, topics[1:], strict=True):
            args[name] = topic if kind is None else abi_decode([kind], topic)[0]
        values = abi_decode(event.plain_types, _as_bytes(raw_data))
        args.update(_to_dict(event.plain, values))
        return DecodedEvent(event.name, event.signature, {name: args[name] for name in event.names})

    def decode_error(self, data: bytes) -> str | None:
        """Name and values of a custom error of this ABI, for people; None when it is another one."""
        for error in self._errors:
            if data[:4] == error.selector:
                try:
                    values = abi_decode(error.types, data[4:])
                except MalformedCalldata:
                    return error.name
                shown = ", ".join(
                    f"{entry['name'] or index}={_show(value)}"
                    for index, (entry, value) in enumerate(zip(error.inputs, values, strict=True))
                )
                return f"{error.name}({shown})"
        return None


def _functions(abi: Abi, kind: str) -> list[AbiFunction]:
    return [
        AbiFunction(
            name=entry["name"],
            inputs=entry["inputs"],
            outputs=entry.get("outputs", []),
            payable=entry.get("stateMutability") == "payable",
            view=entry.get("stateMutability") in ("view", "pure"),
        )
        for entry in abi
        if entry.get("type") == kind
    ]


def _is_hashed(kind: str) -> bool:
    """Whether a topic holds the hash of a value of this type instead of the value."""
    return kind in ("string", "bytes") or kind.endswith("]") or kind.startswith("(")


def _canonical(entry: Mapping[str, Any]) -> str:
    kind = str(entry["type"])
    if not kind.startswith("tuple"):
        return kind
    return f"({','.join(_canonical(part) for part in entry['components'])}){kind[5:]}"


def _to_tuple(entries: Abi, args: Sequence[object] | Mapping[str, object]) -> list[object]:
    if isinstance(args, Mapping):
        names = [entry["name"] for entry in entries]
        if set(names) != set(args):
            raise MalformedCalldata(f"expected the members {', '.join(names)}, was {', '.join(map(str, args))}")
        args = [args[name] for name in names]
    if len(entries) != len(args):
        raise MalformedCalldata(f"expected {len(entries)} values, was {len(args)}")
    return [_flatten(entry, value) for entry, value in zip(entries, args, strict=True)]


def _flatten(entry: Mapping[str, Any], value: Any) -> object:
    kind = str(entry["type"])
    if not kind.startswith("tuple"):
        return value
    if kind.endswith("]"):
        inner = {**entry, "type": kind[: kind.rindex("[")]}
        return [_flatten(inner, one) for one in value]
    return tuple(_to_tuple(entry["components"], value))


def _to_dict(entries: Abi, values: Sequence[Any]) -> dict[str, Any]:
    return {
        entry["name"] or str(index): _name(entry, value)
        for index, (entry, value) in enumerate(zip(entries, values, strict=True))
    }


def _name(entry: Mapping[str, Any], value: Any) -> Any:
    kind = str(entry["type"])
    if not kind.startswith("tuple"):
        return value
    if kind.endswith("]"):
        inner = {**entry, "type": kind[: kind.rindex("[")]}
        return [_name(inner, one) for one in value]
    return _to_dict(entry["components"], value)


def _signature_types(signature: str) -> list[str]:
    if not signature.endswith(")") or "(" not in signature:
        raise MalformedCalldata("expected a signature like transfer(address,uint256)")
    return split_types(signature[signature.index("(") + 1 : -1])


def _as_bytes(value: bytes | str) -> bytes:
    return value if isinstance(value, bytes) else bytes.fromhex(value.removeprefix("0x"))


def _show(value: object) -> str:
    return "0x" + value.hex() if isinstance(value, bytes) else str(value)
