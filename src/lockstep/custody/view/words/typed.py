"""Typed data in words: our own orders and the ERC-2612 permit by their exact types, everything else by its names."""

from __future__ import annotations

from typing import Any

from lockstep.chains.evm import TypedData
from lockstep.custody.view.orders import ORDER
from lockstep.custody.view.types import RequestView
from lockstep.custody.view.words.calls import FACTORY, deadline_text, destination_text
from lockstep.custody.view.words.text import (
    UNLIMITED,
    address_text,
    allowance_text,
    chain_text,
    contract_text,
    foreign_address,
    quoted,
    token_text,
    value_detail,
)
from lockstep.custody.view.words.types import Detail, WordFacts, Words

PERMIT = "Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)"


def describe_typed_data(view: RequestView, data: TypedData, facts: WordFacts) -> Words:
    """Typed data in words."""
    contract = data.domain.get("verifyingContract")
    message: dict[str, Any] = data.message
    if data.encoded_type == ORDER and isinstance(contract, str) and view.chain is not None:
        sentence, warnings = _order(view, message, contract, facts)
    elif data.encoded_type == PERMIT and isinstance(contract, str) and view.chain is not None:
        sentence, warnings = _permit(view, message, contract, facts)
    else:
        sentence, warnings = _unknown(view, data, contract, facts)
    details = (
        Detail("Signer", address_text(view.from_address)),
        value_detail("Domain", data.domain),
        Detail(data.primary_type, "", value_detail("", data.message).children),
        Detail("Types", data.encoded_type),
        Detail("Digest", "0x" + data.digest.hex()),
    )
    return Words(sentence=sentence, details=details, warnings=tuple(warnings))


def _order(view: RequestView, order: dict[str, Any], factory: str, facts: WordFacts) -> tuple[str, list[str]]:
    chain = view.chain
    amount = token_text(facts, chain, order["sourceToken"], order["sourceAmount"])
    wanted = destination_text(order["destination"], order["price"]["endAmount"], facts)
    warnings = []
    if facts.contracts.get((chain or "", factory)) != FACTORY:
        warnings.append(f"{address_text(factory)} is not an escrow factory that is known here.")
    if order["maker"] != view.from_address:
        warnings.append(f"The maker {address_text(order['maker'])} is not the wallet that signs.")
    if foreign_address(order["destination"]["receiver"]) != view.from_address:
        warnings.append("The receiver is not the address of the wallet that signs.")
    sentence = f"Sign order: swap {amount} on {chain_text(facts, chain)} for {wanted}, {deadline_text(order['expiry'])}"
    return sentence, warnings


def _permit(view: RequestView, permit: dict[str, Any], token: str, facts: WordFacts) -> tuple[str, list[str]]:
    amount = allowance_text(facts, view.chain, token, permit["value"])
    warnings = []
    if permit["value"] >= UNLIMITED:
        warnings.append("The allowance is unlimited: the spender can take everything, now and later.")
    if (view.chain or "", token) not in facts.tokens:
        warnings.append(f"{address_text(token)} is not a token that is registered here.")
    if permit["owner"] != view.from_address:
        warnings.append(f"The owner {address_text(permit['owner'])} is not the wallet that signs.")
    sentence = (
        f"Sign permit: allow {address_text(permit['spender'])} to spend {amount} on {chain_text(facts, view.chain)}, "
        f"{deadline_text(permit['deadline'])}"
    )
    return sentence, warnings


def _unknown(view: RequestView, data: TypedData, contract: object, facts: WordFacts) -> tuple[str, list[str]]:
    name = data.domain.get("name")
    whom = f" for {quoted(name)}" if isinstance(name, str) else ""
    where = f" (contract {contract_text(facts, view.chain, contract)})" if isinstance(contract, str) else ""
    chain = f" on {chain_text(facts, view.chain)}" if view.chain is not None else ", valid on any chain"
    warnings = ["What this signature allows is not known here."]
    if not isinstance(contract, str):
        warnings.append("The domain names no contract.")
    return f"Sign typed data {quoted(data.primary_type)}{whom}{where}{chain}", warnings
