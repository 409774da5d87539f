"""The catalogue: which facts a condition may name, of which type, for which methods, and which operators fit a type."""

from __future__ import annotations

from lockstep.custody.policy import sets
from lockstep.custody.policy.types import ANY_METHOD, Operator
from lockstep.custody.policy.values import ADDRESS, BOOL, BYTES, STRING, UINT256, Kind, ValueType
from lockstep.custody.view.types import CARDANO_METHODS, Method

TRANSACTION = "ethereum_transaction"
CALLDATA = "ethereum_calldata"
TYPED_DATA_DOMAIN = "ethereum_typed_data_domain"
TYPED_DATA_MESSAGE = "ethereum_typed_data_message"
MESSAGE = "ethereum_message"
AUTHORIZATION = "ethereum_7702_authorization"
USER_OPERATION = "ethereum_user_operation"
CARDANO = "cardano_transaction"
CARDANO_MESSAGE = "cardano_message"
SYSTEM = "system"
REFERENCE = "reference"
"""Sums over earlier requests: `aggregation.<id>` is what is used in the window, with this request."""

FIELDS: dict[str, dict[str, ValueType]] = {
    TRANSACTION: {
        "to": ADDRESS,
        "value": UINT256,
        "chain_id": UINT256,
        "from": ADDRESS,
        "data": BYTES,
        "nonce": UINT256,
        "gas_limit": UINT256,
        "max_fee_per_gas": UINT256,
        "max_priority_fee_per_gas": UINT256,
        "type": UINT256,
        "max_fee_per_blob_gas": UINT256,
        "blob_count": UINT256,
        "function_selector": ValueType("bytes", 4),
    },
    TYPED_DATA_DOMAIN: {
        "chain_id": UINT256,
        "verifying_contract": ADDRESS,
        "name": STRING,
        "version": STRING,
        "salt": ValueType("bytes", 32),
    },
    MESSAGE: {"content": STRING, "byte_length": UINT256},
    AUTHORIZATION: {"contract": ADDRESS, "chain_id": UINT256, "nonce": UINT256, "authority": ADDRESS},
    USER_OPERATION: {
        "sender": ADDRESS,
        "entry_point": ADDRESS,
        "nonce": UINT256,
        "call_data": BYTES,
        "max_fee_per_gas": UINT256,
        "max_cost": ValueType("uint", 512),
        "factory": ADDRESS,
        "paymaster": ADDRESS,
    },
    CARDANO: {
        "address": STRING,
        "lovelace": UINT256,
        "is_own": BOOL,
        "token_count": UINT256,
        "token": STRING,
        "token_amount": UINT256,
        "fee": UINT256,
        "ttl": UINT256,
        "output_count": UINT256,
        "certificate_count": UINT256,
        "withdrawal_count": UINT256,
        "mint_count": UINT256,
        "donation": UINT256,
        "runs_scripts": BOOL,
    },
    CARDANO_MESSAGE: {"content": STRING, "byte_length": UINT256},
    SYSTEM: {
        "current_unix_timestamp": UINT256,
        "hour_utc": UINT256,
        "weekday_utc": UINT256,
        "wallet_id": STRING,
        "app_id": STRING,
        "user_id": STRING,
        "session_id": STRING,
    },
}
"""Field types by source; calls and typed messages have their own, by ABI and by EIP-712 types."""

SOURCE_ALIASES = {"message": MESSAGE}
"""Names that another family of such services gives to our sources."""
ALIASES = {
    (TYPED_DATA_DOMAIN, "chainId"): "chain_id",
    (TYPED_DATA_DOMAIN, "verifyingContract"): "verifying_contract",
    (AUTHORIZATION, "delegate"): "contract",
}

_TRANSACTIONS = frozenset({Method.SEND_TRANSACTION, Method.SIGN_TRANSACTION})
_CALLS = frozenset({*_TRANSACTIONS, Method.SIGN_USER_OPERATION, Method.SEND_CALLS})
CALL_FIELDS = frozenset({"to", "value", "chain_id", "from", "data", "function_selector"})
"""Facts of a transaction that a call inside of something else has as well."""
_METHODS: dict[str, frozenset[Method]] = {
    TRANSACTION: _CALLS,
    CALLDATA: _CALLS,
    TYPED_DATA_DOMAIN: frozenset({Method.SIGN_TYPED_DATA}),
    TYPED_DATA_MESSAGE: frozenset({Method.SIGN_TYPED_DATA}),
    MESSAGE: frozenset({Method.PERSONAL_SIGN}),
    AUTHORIZATION: frozenset({Method.SIGN_AUTHORIZATION}),
    USER_OPERATION: frozenset({Method.SIGN_USER_OPERATION}),
    CARDANO: frozenset({Method.SIGN_CARDANO}),
    CARDANO_MESSAGE: frozenset({Method.SIGN_CARDANO_DATA}),
    SYSTEM: frozenset(Method),
    REFERENCE: frozenset(Method),
}
SOURCES = tuple(_METHODS)
METHODS = (*Method, ANY_METHOD)
CHAIN_TYPES: dict[str, tuple[str, ...]] = {
    "ethereum": tuple(method for method in Method if method not in CARDANO_METHODS),
    "cardano": tuple(method for method in Method if method in CARDANO_METHODS),
}
"""Methods by the chain type of a policy."""
NAMED_METHODS = frozenset({Method.SIGN_AUTHORIZATION, Method.SIGN_HASH})
"""Methods that can hand over the whole account: a rule allows them by name only, never by "*"."""

LATER_SOURCES = frozenset({"action_request_body"})
LATER_METHODS = frozenset(
    {
        "exportPrivateKey",
        "exportSeedPhrase",
        "transfer",
    }
)

LISTS = frozenset({Operator.IN, Operator.NOT_IN})
PARTS = frozenset({Operator.CONTAINS, Operator.STARTS_WITH, Operator.ENDS_WITH})
_EQUALITY = frozenset({Operator.EQ, Operator.NEQ, *LISTS})
ORDER = frozenset({Operator.LT, Operator.LTE, Operator.GT, Operator.GTE})
_OPERATORS: dict[Kind, frozenset[Operator]] = {
    "address": _EQUALITY,
    "bool": _EQUALITY,
    "uint": _EQUALITY | ORDER,
    "int": _EQUALITY | ORDER,
    "bytes": _EQUALITY | PARTS,
    "string": _EQUALITY | PARTS,
}


def operators_of(kind: ValueType) -> frozenset[Operator]:
    """Operators that make sense for a type: no order on addresses or text, no prefix of a number."""
    return _OPERATORS[kind.kind] | (sets.OPERATORS if sets.set_type_of(kind) is not None else frozenset())


def undecidable(method: str, source: str, field: str) -> str | None:
    """Why a condition on this field could never be decided for this method, or None when it could."""
    if method == ANY_METHOD:
        return None
    if method not in _METHODS[source]:
        return f"{method} has no {source}; such a condition could never be decided"
    if method == Method.SEND_TRANSACTION and (source, field) == (TRANSACTION, "nonce"):
        return "the nonce of a sent transaction is bound after the decision; such a condition could never be decided"
    if source == TRANSACTION and method not in _TRANSACTIONS and field not in CALL_FIELDS:
        return f"the calls of {method} have no {field}; such a condition could never be decided"
    if method == Method.SEND_TRANSACTION and source == TRANSACTION and "blob" in field:
        return "no transaction with blobs is sent; such a condition could never be decided"
    return None
