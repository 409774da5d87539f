"""ERC-4337 user operations of entry point version 0.7: their one encoding here, their hash, and what an owner signs.

Does not send, estimate or pay for them.
"""

from __future__ import annotations

from dataclasses import dataclass

from lockstep.chains.evm.abi import abi_decode, abi_encode
from lockstep.chains.evm.addresses import address_from_bytes, address_to_bytes, is_address, keccak256
from lockstep.chains.evm.errors import MalformedCalldata, MalformedTransaction
from lockstep.chains.evm.signatures import personal_digest
from lockstep.chains.evm.transactions import MAX_DATA_BYTES
from lockstep.chains.evm.types import Address, Hash32

ENTRY_POINT = Address("0x0000000071727de22e5e9d8baf0edac6f37da032")
"""The canonical entry point of version 0.7."""
OTHER_ENTRY_POINTS = {
    "0x5ff137d4b0fdcd49dca30c7cf57e578a026d2789": "0.6",
    "0x4337084d9e255ff0702461cf8895ce9e3b5ff108": "0.8",
}
"""Canonical entry points of versions whose operations are hashed in another way."""
_TYPES = ("address", "uint256", "bytes", "bytes", "bytes32", "uint256", "bytes32", "bytes", "address", "uint256")
_BITS = {
    "chain_id": 64,
    "nonce": 256,
    "call_gas_limit": 128,
    "verification_gas_limit": 128,
    "pre_verification_gas": 256,
    "max_fee_per_gas": 128,
    "max_priority_fee_per_gas": 128,
    "paymaster_verification_gas_limit": 128,
    "paymaster_post_op_gas_limit": 128,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class UserOperation:
    """What an account is to do, handed to an entry point by somebody else. Checked when made.

    `factory` makes the account if it does not exist yet; `paymaster` pays in its place. Gas in units, fees in wei.

    Raises:
        MalformedTransaction: a number out of range, no address, parts of a paymaster or factory that is not there, the entry
            point of another version, or more than 128 KiB of data.
    """

    chain_id: int
    entry_point: Address
    sender: Address
    nonce: int
    call_data: bytes
    call_gas_limit: int
    verification_gas_limit: int
    pre_verification_gas: int
    max_fee_per_gas: int
    max_priority_fee_per_gas: int
    factory: Address | None = None
    factory_data: bytes = b""
    paymaster: Address | None = None
    paymaster_verification_gas_limit: int = 0
    paymaster_post_op_gas_limit: int = 0
    paymaster_data: bytes = b""

    def __post_init__(self) -> None:
        for name, bits in _BITS.items():
            number = getattr(self, name)
            if type(number) is not int or number < 0 or number >> bits:
                raise MalformedTransaction(f"{name} is out of range")
        if self.chain_id == 0:
            raise MalformedTransaction("chain_id must be at least 1")
        if not all(is_address(one) for one in (self.entry_point, self.sender)):
            raise MalformedTransaction("entry point and sender must be addresses in lower case")
        if any(one is not None and not is_address(one) for one in (self.factory, self.paymaster)):
            raise MalformedTransaction("factory and paymaster must be addresses in lower case, or absent")
        version = OTHER_ENTRY_POINTS.get(self.entry_point)
        if version is not None:
            raise MalformedTransaction(f"expected an entry point of version 0.7, was that of version {version}")
        if self.factory is None and self.factory_data:
            raise MalformedTransaction("factory_data without a factory")
        limits = self.paymaster_verification_gas_limit, self.paymaster_post_op_gas_limit
        if self.paymaster is None and (self.paymaster_data or any(limits)):
            raise MalformedTransaction("data or gas of a paymaster without a paymaster")
        if len(self.call_data) + len(self.factory_data) + len(self.paymaster_data) > MAX_DATA_BYTES:
            raise MalformedTransaction(f"a user operation holds at most {MAX_DATA_BYTES} bytes of data")
        if self.max_priority_fee_per_gas > self.max_fee_per_gas:
            raise MalformedTransaction("max_priority_fee_per_gas must not be above max_fee_per_gas")

    @property
    def max_cost(self) -> int:
        """The most that account or paymaster can be charged for gas, in wei."""
        gas = self.call_gas_limit + self.verification_gas_limit + self.pre_verification_gas
        return (gas + self.paymaster_verification_gas_limit + self.paymaster_post_op_gas_limit) * self.max_fee_per_gas

    def encode(self) -> bytes:
        """The operation in its packed form, with entry point and chain; the one encoding that `decode_user_operation` takes."""
        init, paying = self._packed_parts()
        values = (self.sender, self.nonce, init, self.call_data, self._gas_limits(), self.pre_verification_gas)
        return abi_encode(_TYPES, (*values, self._fees(), paying, self.entry_point, self.chain_id))

    def hash(self) -> Hash32:
        """The hash by which the entry point knows it (`getUserOpHash` of version 0.7)."""
        init, paying = self._packed_parts()
        packed = abi_encode(
            ("address", "uint256", "bytes32", "bytes32", "bytes32", "uint256", "bytes32", "bytes32"),
            (
                self.sender,
                self.nonce,
                keccak256(init),
                keccak256(self.call_data),
                self._gas_limits(),
                self.pre_verification_gas,
                self._fees(),
                keccak256(paying),
            ),
        )
        return keccak256(
            abi_encode(("bytes32", "address", "uint256"), (keccak256(packed), self.entry_point, self.chain_id))
        )

    def digest(self) -> Hash32:
        """What an owner signs: the hash as a personal message (EIP-191), as accounts of version 0.7 check it."""
        return personal_digest(self.hash())

    def _packed_parts(self) -> tuple[bytes, bytes]:
        init = b"" if self.factory is None else address_to_bytes(self.factory) + self.factory_data
        if self.paymaster is None:
            return init, b""
        limits = _two(self.paymaster_verification_gas_limit, self.paymaster_post_op_gas_limit)
        return init, address_to_bytes(self.paymaster) + limits + self.paymaster_data

    def _gas_limits(self) -> bytes:
        return _two(self.verification_gas_limit, self.call_gas_limit)

    def _fees(self) -> bytes:
        return _two(self.max_priority_fee_per_gas, self.max_fee_per_gas)


def decode_user_operation(payload: bytes) -> UserOperation:
    """Read what `UserOperation.encode` wrote.

    Raises:
        MalformedTransaction: something else, not canonical, or content that does not hold.
    """
    try:
        sender, nonce, init, call_data, limits, pre, fees, paying, entry, chain_id = abi_decode(_TYPES, payload)
    except MalformedCalldata as error:
        raise MalformedTransaction(f"the user operation cannot be read: {error.detail}") from error
    if 0 < len(init) < 20 or 0 < len(paying) < 52:
        raise MalformedTransaction("the user operation cannot be read: a factory or paymaster is cut off")
    verification_gas_limit, call_gas_limit = _halves(limits)
    max_priority_fee_per_gas, max_fee_per_gas = _halves(fees)
    paymaster_limits = _halves(paying[20:52]) if paying else (0, 0)
    operation = UserOperation(
        chain_id=chain_id,
        entry_point=Address(entry.lower()),
        sender=Address(sender.lower()),
        nonce=nonce,
        call_data=call_data,
        call_gas_limit=call_gas_limit,
        verification_gas_limit=verification_gas_limit,
        pre_verification_gas=pre,
        max_fee_per_gas=max_fee_per_gas,
        max_priority_fee_per_gas=max_priority_fee_per_gas,
        factory=address_from_bytes(init[:20]) if init else None,
        factory_data=init[20:],
        paymaster=address_from_bytes(paying[:20]) if paying else None,
        paymaster_verification_gas_limit=paymaster_limits[0],
        paymaster_post_op_gas_limit=paymaster_limits[1],
        paymaster_data=paying[52:],
    )
    if operation.encode() != payload:
        raise MalformedTransaction("the user operation is not in canonical form")
    return operation


def _two(high: int, low: int) -> bytes:
    return high.to_bytes(16, "big") + low.to_bytes(16, "big")


def _halves(word: bytes) -> tuple[int, int]:
    return int.from_bytes(word[:16], "big"), int.from_bytes(word[16:], "big")
