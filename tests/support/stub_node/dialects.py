"""The words in which nodes refuse a raw transaction, by client.

Sources, as read in 2026: geth core/txpool/errors.go, core/txpool/validation.go, core/txpool/legacypool/legacypool.go,
core/error.go, internal/ethapi/api.go; erigon txnprovider/txpool/txpoolcfg/txpoolcfg.go (DiscardReason.String) behind the
name of the import result (rpc/jsonrpc/send_transaction.go); Nethermind TxPool/AcceptTxResult.cs and TxPoolErrorMessages.cs
with the details of TxPool/Filters/*.cs, and the names of the results that it sent before 2026; reth
rpc-eth-types/src/error/mod.rs and transaction.rs (RpcPoolError, RpcInvalidTransactionError); anvil
crates/anvil/src/eth/error/mod.rs (PoolError, InvalidTransactionError).
"""

from __future__ import annotations

from enum import StrEnum

Text = tuple[int, str]
"""JSON-RPC code and the message, with fields in braces."""


class Dialect(StrEnum):
    """A client, and where it changed its words, a generation of it."""

    GETH = "geth"
    ERIGON = "erigon"
    NETHERMIND = "nethermind"
    NETHERMIND_2025 = "nethermind_2025"
    RETH = "reth"
    ANVIL = "anvil"


class Refusal(StrEnum):
    """Why a node does not take a raw transaction."""

    ALREADY_KNOWN = "already_known"
    NONCE_TOO_LOW = "nonce_too_low"
    NONCE_GAP = "nonce_gap"
    """Only by nodes, or for accounts, that take no gaps."""
    REPLACEMENT_UNDERPRICED = "replacement_underpriced"
    UNDERPRICED = "underpriced"
    """The tip lies below what the pool asks for, or below the cheapest of a full one."""
    BELOW_BASE_FEE = "below_base_fee"
    """Only by nodes that do not park it."""
    INSUFFICIENT_FUNDS = "insufficient_funds"
    OVERDRAFT = "overdraft"
    """Together with the account's other ones in the pool."""
    INTRINSIC_GAS = "intrinsic_gas"
    FLOOR_GAS = "floor_gas"
    BLOCK_GAS_LIMIT = "block_gas_limit"
    GAS_CAP = "gas_cap"
    """Above the cap per transaction of EIP-7825."""
    NODE_FEE_CAP = "node_fee_cap"
    """gas · price lies above a limit of the node's operator."""
    TIP_ABOVE_FEE = "tip_above_fee"
    OVERSIZED = "oversized"
    INITCODE = "initcode"
    WRONG_CHAIN = "wrong_chain"
    BAD_SIGNATURE = "bad_signature"
    UNKNOWN_TYPE = "unknown_type"
    POOL_FULL = "pool_full"
    ACCOUNT_LIMIT = "account_limit"


_R = Refusal

_GETH: dict[Refusal, str] = {
    _R.ALREADY_KNOWN: "already known",
    _R.NONCE_TOO_LOW: "nonce too low: next nonce {next_nonce}, tx nonce {nonce}",
    _R.NONCE_GAP: "nonce too high: tx nonce {nonce}, gapped nonce {next_nonce}",
    _R.REPLACEMENT_UNDERPRICED: "replacement transaction underpriced",
    _R.UNDERPRICED: "transaction underpriced: gas tip cap {tip}, minimum needed {least_tip}",
    _R.INSUFFICIENT_FUNDS: "insufficient funds for gas * price + value: balance {balance}, tx cost {cost}, overshot {short}",
    _R.OVERDRAFT: "insufficient funds for gas * price + value: balance {balance}, queued cost {pooled}, tx cost {cost}, overshot {short}",
    _R.INTRINSIC_GAS: "intrinsic gas too low: gas {gas}, minimum needed {least_gas}",
    _R.FLOOR_GAS: "insufficient gas for floor data gas cost: gas {gas}, minimum needed {least_gas}",
    _R.BLOCK_GAS_LIMIT: "exceeds block gas limit",
    _R.GAS_CAP: "transaction gas limit too high (cap: {cap}, tx: {gas})",
    _R.NODE_FEE_CAP: "tx fee (1.50 ether) exceeds the configured cap (1.00 ether)",
    _R.TIP_ABOVE_FEE: "max priority fee per gas higher than max fee per gas: maxPriorityFeePerGas: {tip}, maxFeePerGas: {max_fee}",
    _R.OVERSIZED: "oversized data: transaction size {size}, limit {most}",
    _R.INITCODE: "max initcode size exceeded: code size {size} limit {most}",
    _R.WRONG_CHAIN: "invalid sender: invalid chain id for signer: have {chain_id} want {own_chain_id}",
    _R.BAD_SIGNATURE: "invalid sender: invalid transaction v, r, s values",
    _R.UNKNOWN_TYPE: "transaction type not supported",
    _R.POOL_FULL: "txpool is full",
    _R.ACCOUNT_LIMIT: "account limit exceeded: pooled {pooled} txs",
}

_ERIGON: dict[Refusal, str] = {
    _R.ALREADY_KNOWN: "ALREADY_EXISTS: already known",
    _R.NONCE_TOO_LOW: "INTERNAL_ERROR: nonce too low",
    _R.REPLACEMENT_UNDERPRICED: "INTERNAL_ERROR: could not replace existing tx",
    _R.UNDERPRICED: "FEE_TOO_LOW: underpriced",
    _R.INSUFFICIENT_FUNDS: "INTERNAL_ERROR: insufficient funds",
    _R.OVERDRAFT: "INTERNAL_ERROR: insufficient funds",
    _R.INTRINSIC_GAS: "INTERNAL_ERROR: IntrinsicGas",
    _R.FLOOR_GAS: "INTERNAL_ERROR: IntrinsicGas",
    _R.BLOCK_GAS_LIMIT: "INTERNAL_ERROR: gas limit is too high",
    _R.GAS_CAP: "INTERNAL_ERROR: gas limit is too high",
    _R.NODE_FEE_CAP: "tx fee (1.50 ether) exceeds the configured cap (1.00 ether)",
    _R.OVERSIZED: "INVALID: RLPTooLong",
    _R.INITCODE: "INVALID: initcode too large",
    _R.WRONG_CHAIN: "invalid chain id, expected: {own_chain_id} got: {chain_id}",
    _R.BAD_SIGNATURE: "INVALID: invalid sender",
    _R.UNKNOWN_TYPE: "INVALID: fork supporting this transaction type is not activated yet",
    _R.POOL_FULL: "INTERNAL_ERROR: pending sub-pool is full",
    _R.ACCOUNT_LIMIT: "INTERNAL_ERROR: spammer",
}

_NETHERMIND_DETAILS: dict[Refusal, str] = {
    _R.NONCE_TOO_LOW: ", Current nonce: {next_nonce}, nonce of rejected tx: {nonce}",
    _R.NONCE_GAP: ", Future nonce. Expected nonce: {next_nonce}",
    _R.UNDERPRICED: ", EffectivePriorityFeePerGas too low {tip} < {least_tip}, BaseFee: {base_fee}",
    _R.BELOW_BASE_FEE: ", MaxFeePerGas too low. MaxFeePerGas: {max_fee}, BaseFee: {base_fee}, MaxPriorityFeePerGas:{tip}, Block number: 7",
    _R.INSUFFICIENT_FUNDS: ", Account balance: {balance}, cumulative cost: {cost}",
    _R.OVERDRAFT: ", Account balance: {balance}, cumulative cost: {cost}",
    _R.BLOCK_GAS_LIMIT: ", Gas limit: {cap}, gas limit of rejected tx: {gas}",
    _R.GAS_CAP: ", Tx gas limit cap: {cap}, gas limit of rejected tx: {gas}",
}
_NETHERMIND_NOW: dict[Refusal, str] = {
    _R.ALREADY_KNOWN: "already known",
    _R.NONCE_TOO_LOW: "nonce too low",
    _R.NONCE_GAP: "nonce too high",
    _R.REPLACEMENT_UNDERPRICED: "replacement transaction underpriced",
    _R.UNDERPRICED: "transaction underpriced",
    _R.BELOW_BASE_FEE: "transaction underpriced",
    _R.INSUFFICIENT_FUNDS: "insufficient funds for gas * price + value",
    _R.OVERDRAFT: "insufficient funds for gas * price + value",
    _R.INTRINSIC_GAS: "transaction invalid",
    _R.FLOOR_GAS: "transaction invalid",
    _R.BLOCK_GAS_LIMIT: "gas limit reached",
    _R.GAS_CAP: "gas limit reached",
    _R.TIP_ABOVE_FEE: "transaction invalid",
    _R.WRONG_CHAIN: "transaction invalid",
    _R.BAD_SIGNATURE: "failed to recover sender",
    _R.POOL_FULL: "transaction underpriced",
    _R.ACCOUNT_LIMIT: "nonce too far in future",
}
_NETHERMIND_BEFORE: dict[Refusal, str] = {
    _R.ALREADY_KNOWN: "AlreadyKnown",
    _R.NONCE_TOO_LOW: "OldNonce",
    _R.NONCE_GAP: "NonceGap",
    _R.REPLACEMENT_UNDERPRICED: "ReplacementNotAllowed",
    _R.UNDERPRICED: "FeeTooLow",
    _R.BELOW_BASE_FEE: "FeeTooLow",
    _R.INSUFFICIENT_FUNDS: "InsufficientFunds",
    _R.OVERDRAFT: "InsufficientFunds",
    _R.INTRINSIC_GAS: "Invalid",
    _R.FLOOR_GAS: "Invalid",
    _R.BLOCK_GAS_LIMIT: "GasLimitExceeded",
    _R.GAS_CAP: "GasLimitExceeded",
    _R.TIP_ABOVE_FEE: "Invalid",
    _R.OVERSIZED: "MaxTxSizeExceeded",
    _R.WRONG_CHAIN: "Invalid",
    _R.BAD_SIGNATURE: "FailedToResolveSender",
    _R.UNKNOWN_TYPE: "NotSupportedTxType",
    _R.POOL_FULL: "FeeTooLowToCompete",
    _R.ACCOUNT_LIMIT: "NonceTooFarInFuture",
}

_RETH: dict[Refusal, Text] = {
    _R.ALREADY_KNOWN: (-32000, "already known"),
    _R.NONCE_TOO_LOW: (-32000, "nonce too low: next nonce {next_nonce}, tx nonce {nonce}"),
    _R.NONCE_GAP: (-32000, "nonce too high"),
    _R.REPLACEMENT_UNDERPRICED: (-32000, "replacement transaction underpriced"),
    _R.UNDERPRICED: (-32003, "transaction priority fee below minimum required priority fee {least_tip}"),
    _R.BELOW_BASE_FEE: (-32000, "max fee per gas less than block base fee"),
    _R.INSUFFICIENT_FUNDS: (-32003, "insufficient funds for gas * price + value: have {balance} want {cost}"),
    _R.OVERDRAFT: (-32003, "insufficient funds for gas * price + value: have {balance} want {cost}"),
    _R.INTRINSIC_GAS: (-32000, "intrinsic gas too low"),
    _R.FLOOR_GAS: (-32000, "intrinsic gas too low"),
    _R.BLOCK_GAS_LIMIT: (-32000, "exceeds block gas limit"),
    _R.GAS_CAP: (-32000, "exceeds max transaction gas limit"),
    _R.NODE_FEE_CAP: (-32000, "tx fee (1500000000000000000 wei) exceeds the configured cap (1000000000000000000 wei)"),
    _R.TIP_ABOVE_FEE: (-32003, "max priority fee per gas higher than max fee per gas"),
    _R.OVERSIZED: (-32000, "oversized data: transaction size {size}, limit {most}"),
    _R.INITCODE: (-32000, "max initcode size exceeded"),
    _R.WRONG_CHAIN: (-32000, "invalid chain ID"),
    _R.BAD_SIGNATURE: (-32000, "invalid transaction signature"),
    _R.UNKNOWN_TYPE: (-32003, "transaction type not supported"),
    _R.POOL_FULL: (-32003, "txpool is full"),
    _R.ACCOUNT_LIMIT: (-32003, "txpool is full"),
}

_ANVIL: dict[Refusal, Text] = {
    _R.ALREADY_KNOWN: (-32003, "transaction already imported"),
    _R.NONCE_TOO_LOW: (-32003, "nonce too low"),
    _R.NONCE_GAP: (-32003, "Nonce too high"),
    _R.REPLACEMENT_UNDERPRICED: (-32003, "replacement transaction underpriced"),
    _R.BELOW_BASE_FEE: (-32003, "max fee per gas less than block base fee"),
    _R.INSUFFICIENT_FUNDS: (-32003, "Insufficient funds for gas * price + value"),
    _R.OVERDRAFT: (-32003, "Insufficient funds for gas * price + value"),
    _R.INTRINSIC_GAS: (-32003, "intrinsic gas too low"),
    _R.FLOOR_GAS: (-32003, "intrinsic gas too high -- GasFloorMoreThanGasLimit"),
    _R.BLOCK_GAS_LIMIT: (-32003, "intrinsic gas too high -- CallerGasLimitMoreThanBlock"),
    _R.GAS_CAP: (-32003, "Transaction gas limit is greater than the block gas limit, gas_limit: {gas}, cap: {cap}"),
    _R.TIP_ABOVE_FEE: (-32003, "max priority fee per gas higher than max fee per gas"),
    _R.INITCODE: (-32003, "max initcode size exceeded"),
    _R.WRONG_CHAIN: (-32003, "invalid chain id for signer"),
    _R.BAD_SIGNATURE: (-32602, "Failed to decode signed transaction"),
}

TEXTS: dict[Dialect, dict[Refusal, Text]] = {
    Dialect.GETH: {refusal: (-32000, text) for refusal, text in _GETH.items()},
    Dialect.ERIGON: {refusal: (-32000, text) for refusal, text in _ERIGON.items()},
    Dialect.NETHERMIND: {
        refusal: (-32010, text + _NETHERMIND_DETAILS.get(refusal, "")) for refusal, text in _NETHERMIND_NOW.items()
    },
    Dialect.NETHERMIND_2025: {
        refusal: (-32010, text + _NETHERMIND_DETAILS.get(refusal, "")) for refusal, text in _NETHERMIND_BEFORE.items()
    },
    Dialect.RETH: _RETH,
    Dialect.ANVIL: _ANVIL,
}
"""What each client has words for; it does not refuse for the other reasons, or not with words of its own."""

_EXAMPLE = {
    "next_nonce": 5, "nonce": 4, "tip": 1, "least_tip": 1_000_000_000, "max_fee": 7, "base_fee": 9_000_000_000,
    "balance": 10**17, "cost": 10**18, "pooled": 64, "short": 9 * 10**17, "gas": 20_000, "least_gas": 21_000,
    "cap": 16_777_216, "size": 140_000, "most": 131_072, "chain_id": 2, "own_chain_id": 1,
}  # fmt: skip


def words(dialect: Dialect, refusal: Refusal, **fields: object) -> Text:
    """Code and message of a refusal; geth's where the client has none of its own. Fields that are not given are examples."""
    code, text = TEXTS[dialect].get(refusal) or TEXTS[Dialect.GETH].get(refusal) or TEXTS[Dialect.RETH][refusal]
    return code, text.format(**(_EXAMPLE | fields))
