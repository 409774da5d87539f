"""EVM chains: codecs (transactions, EIP-712, ABI, signatures), the client of a node, block references and followers.

Knows bytes, blocks and nodes; knows no wallet, policy, order or table of a business module, and holds no key.
"""

from lockstep.chains.evm.abi import (
    Contract,
    DecodedEvent,
    FunctionCall,
    abi_decode,
    abi_encode,
    abi_encode_call,
    decode_revert,
    event_topic,
    function_selector,
)
from lockstep.chains.evm.addresses import (
    address_from_bytes,
    address_from_public_key,
    address_from_word,
    address_to_bytes,
    chain_name,
    is_address,
    keccak256,
    parse_address,
    parse_chain,
    to_checksum,
)
from lockstep.chains.evm.artifacts import Artifact, load_artifact
from lockstep.chains.evm.authorizations import Authorization, SignedAuthorization, decode_authorization
from lockstep.chains.evm.blind import HashFunction, blind_digest, encode_blind
from lockstep.chains.evm.client import EvmClient
from lockstep.chains.evm.config import ChainConfig
from lockstep.chains.evm.data_fees import GAS_PRICE_ORACLE, read_data_fees
from lockstep.chains.evm.errors import (
    BadAddress,
    BadSignature,
    CallReverted,
    MalformedCalldata,
    MalformedTransaction,
    MalformedTypedData,
    NodeError,
    NodesDisagree,
    NodeUnavailable,
    RangeTooWide,
    ReorganisedTooDeep,
    UnknownArtifact,
    UnknownChain,
    WrongChain,
)
from lockstep.chains.evm.fees import FeeMarket, Fees, Speed, market_of_gas_price, market_of_history
from lockstep.chains.evm.follower import KEPT_BLOCKS, Follower, LogHandler
from lockstep.chains.evm.heads import check_announcements
from lockstep.chains.evm.nodes import RpcFault
from lockstep.chains.evm.outcomes import SendOutcome, SendResult, classify_send
from lockstep.chains.evm.profiles import PROFILES, ChainProfile, DataFee, FeeStyle, FinalityTag
from lockstep.chains.evm.registry import ChainRegistry
from lockstep.chains.evm.signatures import HALF_ORDER, ORDER, encode_signature, personal_digest, recover_address
from lockstep.chains.evm.simulation import Transfer, TransferSimulator
from lockstep.chains.evm.transactions import (
    GAS_PER_BLOB,
    EnvelopeType,
    SignedTransaction,
    TransactionType,
    UnsignedTransaction,
    decode_signed,
    decode_unsigned,
    encode_signed,
    intrinsic_gas,
    transaction_hash,
)
from lockstep.chains.evm.typed_data import (
    TypedData,
    TypedDataDigest,
    TypedValue,
    encode_type,
    read_typed_data,
    typed_data_digest,
)
from lockstep.chains.evm.types import ZERO_ADDRESS, Address, BlockRef, Hash32
from lockstep.chains.evm.user_operations import ENTRY_POINT, UserOperation, decode_user_operation
from lockstep.chains.evm.views import MULTICALL, block_param
from lockstep.chains.evm.wire import FeeHistory, Header, Log, LogFilter, Receipt

__all__ = [
    "ENTRY_POINT",
    "GAS_PER_BLOB",
    "GAS_PRICE_ORACLE",
    "HALF_ORDER",
    "KEPT_BLOCKS",
    "MULTICALL",
    "ORDER",
    "PROFILES",
    "ZERO_ADDRESS",
    "Address",
    "Artifact",
    "Authorization",
    "BadAddress",
    "BadSignature",
    "BlockRef",
    "CallReverted",
    "ChainConfig",
    "ChainProfile",
    "ChainRegistry",
    "Contract",
    "DataFee",
    "DecodedEvent",
    "EnvelopeType",
    "EvmClient",
    "FeeHistory",
    "FeeMarket",
    "FeeStyle",
    "Fees",
    "FinalityTag",
    "Follower",
    "FunctionCall",
    "Hash32",
    "HashFunction",
    "Header",
    "Log",
    "LogFilter",
    "LogHandler",
    "MalformedCalldata",
    "MalformedTransaction",
    "MalformedTypedData",
    "NodeError",
    "NodeUnavailable",
    "NodesDisagree",
    "RangeTooWide",
    "Receipt",
    "ReorganisedTooDeep",
    "RpcFault",
    "SendOutcome",
    "SendResult",
    "SignedAuthorization",
    "SignedTransaction",
    "Speed",
    "TransactionType",
    "Transfer",
    "TransferSimulator",
    "TypedData",
    "TypedDataDigest",
    "TypedValue",
    "UnknownArtifact",
    "UnknownChain",
    "UnsignedTransaction",
    "UserOperation",
    "WrongChain",
    "abi_decode",
    "abi_encode",
    "abi_encode_call",
    "address_from_bytes",
    "address_from_public_key",
    "address_from_word",
    "address_to_bytes",
    "blind_digest",
    "block_param",
    "chain_name",
    "check_announcements",
    "classify_send",
    "decode_authorization",
    "decode_revert",
    "decode_signed",
    "decode_unsigned",
    "decode_user_operation",
    "encode_blind",
    "encode_signature",
    "encode_signed",
    "encode_type",
    "event_topic",
    "function_selector",
    "intrinsic_gas",
    "is_address",
    "keccak256",
    "load_artifact",
    "market_of_gas_price",
    "market_of_history",
    "parse_address",
    "parse_chain",
    "personal_digest",
    "read_data_fees",
    "read_typed_data",
    "recover_address",
    "to_checksum",
    "transaction_hash",
    "typed_data_digest",
]
