"""EIP-712: reads a whole document strictly and says what would be signed.

Everything in the message must be part of the digest: members that the type does not name are refused, and so are
missing ones, numbers out of range and wrong lengths. The result carries the values *as they were encoded*, so that a
policy or a screen shows what is signed and not what was written. Holds no key, signs nothing.

Source: EIP-712; compared with eth-account in the tests.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias

from lockstep.chains.evm.addresses import address_to_bytes, keccak256, parse_address
from lockstep.chains.evm.errors import BadAddress, MalformedTypedData
from lockstep.chains.evm.types import Address, Hash32

TypedValue: TypeAlias = "int | bool | str | bytes | list[TypedValue] | dict[str, TypedValue]"
"""A value as it is encoded: integers as int, addresses in lower case, bytes as bytes, structs by member name."""

MAX_DEPTH = 16
MAX_VALUES = 4_096
MAX_TYPES = 64
MAX_MEMBERS = 128
MAX_CONTENT_BYTES = 131_072

_DOMAIN = "EIP712Domain"
_DOMAIN_MEMBERS = (
    ("name", "string"),
    ("version", "string"),
    ("chainId", "uint256"),
    ("verifyingContract", "address"),
    ("salt", "bytes32"),
)
_IDENTIFIER = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]{0,127}")
_ARRAY = re.compile(r"(.+)\[([1-9][0-9]{0,4})?\]")
_INTEGER = re.compile(r"(u?)int(8|16|24|32|40|48|56|64|72|80|88|96|104|112|120|128|136|144|152|160|168|176|184|192|200|208|216|224|232|240|248|256)")  # fmt: skip
_FIXED_BYTES = re.compile(r"bytes([1-9]|[12][0-9]|3[0-2])")
_RESERVED = re.compile(r"u?int[0-9]*|bytes[0-9]*|address|bool|string|u?fixed.*|function")
_DECIMAL = re.compile(r"-?(0|[1-9][0-9]{0,77})")
_HEX_NUMBER = re.compile(r"0x[0-9a-fA-F]{1,64}")
_HEX_BYTES = re.compile(r"0x([0-9a-fA-F]{2})*")


class TypedDataDigest(NamedTuple):
    """What is signed (`digest`), and the two hashes that it is made of."""

    digest: Hash32
    domain_separator: Hash32
    struct_hash: Hash32


@dataclass(frozen=True, slots=True, kw_only=True)
class TypedData:
    """A document that was read: the digest and the very values that it stands for."""

    digest: Hash32
    domain_separator: Hash32
    struct_hash: Hash32
    primary_type: str
    encoded_type: str
    """`encodeType` of the primary type with all types that it reaches."""
    types: dict[str, list[tuple[str, str]]]
    """Members (name, type) of every type that the primary type reaches."""
    domain: dict[str, TypedValue]
    message: dict[str, TypedValue]


def typed_data_digest(document: Mapping[str, Any]) -> TypedDataDigest:
    """Digest, domain separator and struct hash of a document `{types, domain, primaryType, message}`.

    Raises:
        MalformedTypedData: see `read_typed_data`.
    """
    data = read_typed_data(document)
    return TypedDataDigest(data.digest, data.domain_separator, data.struct_hash)


def read_typed_data(document: Mapping[str, Any]) -> TypedData:
    """Read an EIP-712 document.

    `types` may leave `EIP712Domain` out; then it has the members that `domain` has, in the order of the standard.
    Integers may be JSON numbers, decimal strings or 0x hex; bytes are 0x hex (or bytes); addresses in any case, but a
    mixed-case one must have its checksum.

    Raises:
        MalformedTypedData: unknown or missing members, a type that is not declared, a value outside its type, or a
            document above the caps (depth 16, 4096 values, 64 types, 128 KiB of content).
    """
    if not isinstance(document, Mapping):
        raise MalformedTypedData("expected a typed data document, an object")
    expected = {"types", "domain", "primaryType", "message"}
    if set(document) != expected:
        raise MalformedTypedData(f"expected exactly the members {', '.join(sorted(expected))}")
    domain, primary, message = document["domain"], document["primaryType"], document["message"]
    types = _read_types(document["types"], domain)
    if not isinstance(primary, str) or primary not in types:
        raise MalformedTypedData("primaryType must be one of the types")
    if primary == _DOMAIN:
        raise MalformedTypedData("primaryType must not be the domain itself")
    encoder = _Encoder(types)
    domain_separator, domain_values = encoder.hash_domain(domain)
    struct_hash, message_values = encoder.hash_struct(primary, message, "message", 0)
    return TypedData(
        digest=keccak256(b"\x19\x01" + domain_separator + struct_hash),
        domain_separator=domain_separator,
        struct_hash=struct_hash,
        primary_type=primary,
        encoded_type=encode_type(types, primary),
        types={name: list(types[name].items()) for name in _reachable(types, primary)},
        domain=domain_values,
        message=message_values,
    )


def encode_type(types: Mapping[str, Mapping[str, str]], primary: str) -> str:
    """`encodeType`: the primary type, then every type that it reaches, sorted by name.

    Args:
        types: member types by member name, by type name.
    """
    names = [primary, *sorted(_reachable(types, primary) - {primary})]
    return "".join(f"{name}({','.join(f'{kind} {member}' for member, kind in types[name].items())})" for name in names)


class _Encoder:
    """Encodes values of one set of types and counts what it has seen."""

    def __init__(self, types: Mapping[str, Mapping[str, str]]) -> None:
        self._types = types
        self._type_hashes: dict[str, bytes] = {}
        self._hash: Callable[[bytes], bytes] = keccak256
        self._values = 0
        self._bytes = 0

    def hash_struct(self, name: str, value: object, path: str, depth: int) -> tuple[bytes, dict[str, TypedValue]]:
        members = self._types[name]
        if not isinstance(value, Mapping):
            raise MalformedTypedData(f"{path}: expected an object of type {name}")
        for unsigned in value.keys() - members.keys():
            raise MalformedTypedData(
                f"{path}: {str(unsigned)[:64]!r} is not a member of {name} and would not be signed"
            )
        parts, read = [self._type_hash(name)], {}
        for member, kind in members.items():
            if member not in value:
                raise MalformedTypedData(f"{path}: the member {member!r} of {name} is missing")
            word, read[member] = self._encode(kind, value[member], f"{path}.{member}", depth + 1)
            parts.append(word)
        return self._hash(b"".join(parts)), read

    def hash_domain(self, value: object) -> tuple[bytes, dict[str, TypedValue]]:
        """As `hash_struct`; the same few domains come again and again, so their hashes are remembered."""
        self._hash = _remembered_hash
        try:
            return self.hash_struct(_DOMAIN, value, "domain", 0)
        finally:
            self._hash = keccak256

    def _encode(self, kind: str, value: object, path: str, depth: int) -> tuple[bytes, TypedValue]:
        self._values += 1
        if depth > MAX_DEPTH or self._values > MAX_VALUES:
            raise MalformedTypedData(f"more than {MAX_DEPTH} levels or {MAX_VALUES} values")
        array = _ARRAY.fullmatch(kind)
        if array is not None:
            return self._encode_array(array.group(1), array.group(2), value, path, depth)
        if kind in self._types:
            return self.hash_struct(kind, value, path, depth)
        return self._encode_atom(kind, value, path)

    def _encode_array(
        self, inner: str, length: str | None, value: object, path: str, depth: int
    ) -> tuple[bytes, TypedValue]:
        if not isinstance(value, list | tuple):
            raise MalformedTypedData(f"{path}: expected a list of {inner}")
        if length is not None and len(value) != int(length):
            raise MalformedTypedData(f"{path}: expected {length} elements, was {len(value)}")
        words, read = [], []
        for index, element in enumerate(value):
            word, one = self._encode(inner, element, f"{path}[{index}]", depth + 1)
            words.append(word)
            read.append(one)
        return keccak256(b"".join(words)), read

    def _encode_atom(self, kind: str, value: object, path: str) -> tuple[bytes, TypedValue]:
        integer = _INTEGER.fullmatch(kind)
        if integer is not None:
            number = _read_integer(value, path)
            bits, signed = int(integer.group(2)), not integer.group(1)
            low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
            if not low <= number <= high:
                raise MalformedTypedData(f"{path}: out of the range of {kind}")
            return (number % 2**256).to_bytes(32, "big"), number
        if kind == "address":
            address = _read_address(value, path)
            return bytes(12) + address_to_bytes(address), address
        if kind == "bool":
            if not isinstance(value, bool):
                raise MalformedTypedData(f"{path}: expected true or false")
            return int(value).to_bytes(32, "big"), value
        if kind == "string":
            if not isinstance(value, str):
                raise MalformedTypedData(f"{path}: expected text")
            try:
                content = value.encode()
            except UnicodeEncodeError as error:
                raise MalformedTypedData(f"{path}: text that is not valid Unicode") from error
            return self._hash(self._count(content)), value
        raw = _read_bytes(value, path)
        fixed = _FIXED_BYTES.fullmatch(kind)
        if fixed is None:
            return keccak256(self._count(raw)), raw
        if len(raw) != int(fixed.group(1)):
            raise MalformedTypedData(f"{path}: expected {fixed.group(1)} bytes, was {len(raw)}")
        return raw.ljust(32, b"\x00"), raw

    def _count(self, content: bytes) -> bytes:
        self._bytes += len(content)
        if self._bytes > MAX_CONTENT_BYTES:
            raise MalformedTypedData(f"more than {MAX_CONTENT_BYTES} bytes of content")
        return content

    def _type_hash(self, name: str) -> bytes:
        if name not in self._type_hashes:
            self._type_hashes[name] = _remembered_hash(encode_type(self._types, name).encode())
        return self._type_hashes[name]


def _remembered_hash(content: bytes) -> bytes:
    """Keccak-256 for what repeats: types and domains, which are public. Never for messages, which may hold secrets."""
    return _remember(content) if len(content) <= 1_024 else keccak256(content)


@lru_cache(maxsize=2_048)
def _remember(content: bytes) -> bytes:
    return keccak256(content)


def _read_types(raw: object, domain: object) -> dict[str, dict[str, str]]:
    if not isinstance(raw, Mapping) or not 0 < len(raw) <= MAX_TYPES:
        raise MalformedTypedData(f"types must be an object with 1 to {MAX_TYPES} types")
    types = {name: _read_members(name, members) for name, members in raw.items()}
    if not isinstance(domain, Mapping):
        raise MalformedTypedData("domain must be an object")
    if _DOMAIN not in types:
        types[_DOMAIN] = {name: kind for name, kind in _DOMAIN_MEMBERS if name in domain}
    standard = [(name, kind) for name, kind in _DOMAIN_MEMBERS if name in types[_DOMAIN]]
    if not standard or list(types[_DOMAIN].items()) != standard:
        raise MalformedTypedData(
            "EIP712Domain must have one or more of name, version, chainId, verifyingContract, salt, in this order and with the types of the standard"
        )
    for name, members in types.items():
        for member, kind in members.items():
            base = _base(kind)
            if base == _DOMAIN or (base not in types and not _is_atom(base)):
                raise MalformedTypedData(f"{name}.{member}: the type {kind[:64]!r} is not known")
    return types


def _read_members(name: object, raw: object) -> dict[str, str]:
    if not isinstance(name, str) or not _IDENTIFIER.fullmatch(name) or _RESERVED.fullmatch(name):
        raise MalformedTypedData(f"{str(name)[:64]!r} cannot be the name of a type")
    if not isinstance(raw, list | tuple) or len(raw) > MAX_MEMBERS:
        raise MalformedTypedData(f"type {name}: expected a list of at most {MAX_MEMBERS} members")
    members: dict[str, str] = {}
    for entry in raw:
        if not isinstance(entry, Mapping) or set(entry) != {"name", "type"}:
            raise MalformedTypedData(f"type {name}: a member has exactly a name and a type")
        member, kind = entry["name"], entry["type"]
        if not isinstance(member, str) or not _IDENTIFIER.fullmatch(member) or member in members:
            raise MalformedTypedData(f"type {name}: a member name is not an identifier, or is used twice")
        if not isinstance(kind, str) or len(kind) > 192:
            raise MalformedTypedData(f"{name}.{member}: expected the name of a type")
        members[member] = kind
    return members


def _reachable(types: Mapping[str, Mapping[str, str]], primary: str) -> set[str]:
    found, waiting = {primary}, [primary]
    while waiting:
        for kind in types[waiting.pop()].values():
            base = _base(kind)
            if base in types and base not in found:
                found.add(base)
                waiting.append(base)
    return found


def _base(kind: str) -> str:
    while (array := _ARRAY.fullmatch(kind)) is not None:
        kind = array.group(1)
    return kind


def _is_atom(kind: str) -> bool:
    return (
        kind in ("address", "bool", "string", "bytes")
        or _INTEGER.fullmatch(kind) is not None
        or _FIXED_BYTES.fullmatch(kind) is not None
    )


def _read_integer(value: object, path: str) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str):
        if _DECIMAL.fullmatch(value) and value != "-0":
            return int(value)
        if _HEX_NUMBER.fullmatch(value):
            return int(value, 16)
    raise MalformedTypedData(f"{path}: expected a whole number, a decimal string or 0x hex")


def _read_address(value: object, path: str) -> Address:
    try:
        return parse_address(value)  # type: ignore[arg-type]  # it refuses what is not text
    except BadAddress as error:
        raise MalformedTypedData(f"{path}: {error.detail}") from error


def _read_bytes(value: object, path: str) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, str) and len(value) <= 2 * MAX_CONTENT_BYTES + 2 and _HEX_BYTES.fullmatch(value):
        return bytes.fromhex(value[2:])
    raise MalformedTypedData(f"{path}: expected bytes as 0x hex")
