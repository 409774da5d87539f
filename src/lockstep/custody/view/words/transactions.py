"""Transactions in words: what they call, what else they carry, and what they cost."""

from __future__ import annotations

from lockstep.chains.evm import GAS_PER_BLOB, UnsignedTransaction
from lockstep.custody.view.types import Call, RequestView
from lockstep.custody.view.words.authority import describe_authorization
from lockstep.custody.view.words.calls import describe_call
from lockstep.custody.view.words.text import address_text, chain_text, native_text
from lockstep.custody.view.words.types import Detail, WordFacts, Words


def describe_transaction(view: RequestView, transaction: UnsignedTransaction, facts: WordFacts) -> Words:
    """A transaction in words."""
    where = chain_text(facts, view.chain)
    called = describe_call(Call(transaction.to, transaction.value, transaction.data), view.chain, facts)
    details = (
        Detail("Chain", where),
        Detail("From", address_text(view.from_address)),
        *called.details,
        *_lists(transaction),
        *describe_costs(view, transaction, facts),
    )
    given = [describe_authorization(part, facts) for part in view.parts if part.authorization is not None]
    sentence = f"{called.sentence} on {where}" + (_blobs(transaction) if transaction.blob_hashes else "")
    return Words(
        sentence="; and ".join([sentence, *(f"{one.sentence[0].lower()}{one.sentence[1:]}" for one in given)]),
        details=(*details, *(Detail("Authorization", one.sentence, one.details) for one in given)),
        warnings=(*(line for one in given for line in one.warnings), *called.warnings),
    )


def _blobs(transaction: UnsignedTransaction) -> str:
    count = len(transaction.blob_hashes)
    return f", with {count} blob{'' if count == 1 else 's'} of data"


def _lists(transaction: UnsignedTransaction) -> tuple[Detail, ...]:
    """What else the transaction carries."""
    listed = tuple(
        Detail(address_text(address), "", tuple(Detail("Key", "0x" + key.hex()) for key in keys))
        for address, keys in transaction.access_list
    )
    hashes = tuple(Detail("Hash", "0x" + one.hex()) for one in transaction.blob_hashes)
    found = []
    if listed:
        found.append(Detail("Access list", "", listed))
    if hashes:
        found.append(Detail("Blobs", str(len(hashes)), hashes))
    return tuple(found)


def describe_costs(view: RequestView, transaction: UnsignedTransaction, facts: WordFacts) -> tuple[Detail, ...]:
    """Nonce, gas and fees, as far as they are known."""
    known = [name for name in ("nonce", "gas_limit", "max_fee_per_gas") if name not in view.open_fields]
    lines = [Detail(name.replace("_", " ").capitalize(), f"{getattr(transaction, name):,}") for name in known]
    if "gas_limit" in known and "max_fee_per_gas" in known:
        most = native_text(facts, view.chain, transaction.gas_limit * transaction.max_fee_per_gas)
        lines.append(Detail("Gas fee at most", most))
    if transaction.blob_hashes:
        blob_fee = len(transaction.blob_hashes) * GAS_PER_BLOB * transaction.max_fee_per_blob_gas
        lines.append(Detail("Blob fee at most", native_text(facts, view.chain, blob_fee)))
    return tuple(lines)
