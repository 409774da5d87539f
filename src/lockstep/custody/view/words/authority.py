"""EIP-7702 authorizations in words: whose account runs whose code from then on."""

from __future__ import annotations

from lockstep.chains.evm import ZERO_ADDRESS
from lockstep.custody.view.types import RequestView
from lockstep.custody.view.words.text import address_text, chain_text, contract_text
from lockstep.custody.view.words.types import Detail, WordFacts, Words


def describe_authorization(view: RequestView, facts: WordFacts) -> Words:
    """An authorization in words."""
    where = "every chain" if view.chain is None else chain_text(facts, view.chain)
    contract, authority = str(_fact(view, "contract")), str(_fact(view, "authority"))
    details = (
        Detail("Account", address_text(authority)),
        Detail("Contract", contract_text(facts, view.chain, contract)),
        Detail("Chain", where),
        Detail("Nonce", str(_fact(view, "nonce"))),
        Detail("Digest", "0x" + (view.digest or b"").hex()),
    )
    if contract == ZERO_ADDRESS:
        return Words(
            sentence=f"Take back the delegation of account {address_text(authority)} on {where}", details=details
        )
    warnings = ["The code of that contract will be able to do everything with the account, now and later."]
    if view.chain is None:
        warnings.append("It holds on every chain, also on those where other code stands at the contract's address.")
    if (view.chain or "", contract) not in facts.contracts:
        warnings.append(f"{address_text(contract)} is not a contract that is known here.")
    sentence = f"Let account {address_text(authority)} run the code of {contract_text(facts, view.chain, contract)}"
    return Words(sentence=f"{sentence} on {where}", details=details, warnings=tuple(warnings))


def _fact(view: RequestView, name: str) -> object:
    return view.fields[f"ethereum_7702_authorization.{name}"]
