"""Every text in which a known client refuses a raw transaction means what it means, and says nothing of another thing."""

from __future__ import annotations

import pytest
from tests.support.stub_node import TEXTS, Dialect, Refusal, words

from lockstep.chains.evm import SendOutcome, classify_send
from lockstep.chains.evm.outcomes import is_busy, revert_data

MEANING = {
    Refusal.ALREADY_KNOWN: SendOutcome.ALREADY_KNOWN,
    Refusal.NONCE_TOO_LOW: SendOutcome.NONCE_TOO_LOW,
    Refusal.NONCE_GAP: SendOutcome.NONCE_GAP,
    Refusal.REPLACEMENT_UNDERPRICED: SendOutcome.UNDERPRICED,
    Refusal.UNDERPRICED: SendOutcome.UNDERPRICED,
    Refusal.BELOW_BASE_FEE: SendOutcome.FEE_TOO_LOW,
    Refusal.INSUFFICIENT_FUNDS: SendOutcome.INSUFFICIENT_FUNDS,
    Refusal.OVERDRAFT: SendOutcome.INSUFFICIENT_FUNDS,
    Refusal.INTRINSIC_GAS: SendOutcome.INVALID,
    Refusal.FLOOR_GAS: SendOutcome.INVALID,
    Refusal.BLOCK_GAS_LIMIT: SendOutcome.INVALID,
    Refusal.GAS_CAP: SendOutcome.INVALID,
    Refusal.NODE_FEE_CAP: SendOutcome.INVALID,
    Refusal.TIP_ABOVE_FEE: SendOutcome.INVALID,
    Refusal.OVERSIZED: SendOutcome.INVALID,
    Refusal.INITCODE: SendOutcome.INVALID,
    Refusal.WRONG_CHAIN: SendOutcome.INVALID,
    Refusal.BAD_SIGNATURE: SendOutcome.INVALID,
    Refusal.UNKNOWN_TYPE: SendOutcome.INVALID,
    Refusal.POOL_FULL: SendOutcome.UNKNOWN,
    Refusal.ACCOUNT_LIMIT: SendOutcome.UNKNOWN,
}
OTHERWISE = {
    # Nethermind has one word for a tip below its minimum, a full pool and a fee below the base fee; a higher fee helps all.
    (Dialect.NETHERMIND, Refusal.BELOW_BASE_FEE): SendOutcome.UNDERPRICED,
    (Dialect.NETHERMIND, Refusal.POOL_FULL): SendOutcome.UNDERPRICED,
    (Dialect.NETHERMIND_2025, Refusal.UNDERPRICED): SendOutcome.FEE_TOO_LOW,
    (Dialect.NETHERMIND_2025, Refusal.POOL_FULL): SendOutcome.FEE_TOO_LOW,
    # It counts what an account has pending by how far its nonce lies ahead.
    (Dialect.NETHERMIND, Refusal.ACCOUNT_LIMIT): SendOutcome.NONCE_GAP,
    (Dialect.NETHERMIND_2025, Refusal.ACCOUNT_LIMIT): SendOutcome.NONCE_GAP,
}
SAID = [(dialect, refusal) for dialect, texts in TEXTS.items() for refusal in texts]


@pytest.mark.parametrize(("dialect", "refusal"), SAID)
def test_classify_send__words_of_a_client__its_meaning(dialect: Dialect, refusal: Refusal) -> None:
    _, text = words(dialect, refusal)

    assert classify_send(text) is OTHERWISE.get((dialect, refusal), MEANING[refusal]), text


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("FEE_TOO_LOW: replacement transaction underpriced", SendOutcome.UNDERPRICED),  # erigon
        ("FEE_TOO_LOW: fee too low", SendOutcome.FEE_TOO_LOW),
        ("INTERNAL_ERROR: existing tx with same hash", SendOutcome.ALREADY_KNOWN),
        ("INTERNAL_ERROR: existing txn with same hash", SendOutcome.ALREADY_KNOWN),
        ("INTERNAL_ERROR: baseFee sub-pool is full", SendOutcome.UNKNOWN),
        ("INTERNAL_ERROR: GasUintOverflow", SendOutcome.INVALID),
        ("INVALID: negative value", SendOutcome.INVALID),
        ("transaction gas price below minimum: gas tip cap 0, minimum needed 1", SendOutcome.UNDERPRICED),  # geth
        ("future transaction tries to replace pending", SendOutcome.NONCE_GAP),
        ("gapped-nonce tx from delegated accounts", SendOutcome.NONCE_GAP),
        ("in-flight transaction limit reached for delegated accounts", SendOutcome.UNKNOWN),
        ("nonce has max value", SendOutcome.INVALID),
        ("only replay-protected (EIP-155) transactions allowed over RPC", SendOutcome.INVALID),
        ("transaction cost overflow", SendOutcome.INVALID),  # Nethermind
        ("Int256Overflow", SendOutcome.INVALID),
        ("the node is syncing", SendOutcome.UNKNOWN),
        (
            "[0x3d1b]: insufficient gas price to replace existing transaction",
            SendOutcome.UNDERPRICED,
        ),  # reth's log, anvil
        ("Known transaction", SendOutcome.ALREADY_KNOWN),  # Besu
        ("Gas price below configured minimum gas price", SendOutcome.UNDERPRICED),
        ("Upfront cost exceeds account balance", SendOutcome.INSUFFICIENT_FUNDS),
        ("Transaction nonce is too distant from current sender nonce", SendOutcome.NONCE_GAP),
        ("context deadline exceeded", SendOutcome.UNKNOWN),  # proxies
        ("internal error", SendOutcome.UNKNOWN),
        ("Invalid Request", SendOutcome.UNKNOWN),
        ("invalid argument 0: json: cannot unmarshal", SendOutcome.UNKNOWN),
    ],
)
def test_classify_send__further_texts__their_meaning(text: str, outcome: SendOutcome) -> None:
    assert classify_send(text) is outcome


@pytest.mark.parametrize(("dialect", "refusal"), SAID)
def test_words_of_a_client__about_a_transaction__say_nothing_of_the_node_or_an_execution(
    dialect: Dialect, refusal: Refusal
) -> None:
    code, text = words(dialect, refusal)

    if classify_send(text) is not SendOutcome.UNKNOWN:
        assert not is_busy(code, text)
    assert revert_data(code, text, None) is None, text
