"""Cardano transactions in words: what goes to others, what comes back, and what else the transaction does."""

from __future__ import annotations

from lockstep.chains.cardano import Output, Token, TransactionBody
from lockstep.custody.view.amounts import format_units
from lockstep.custody.view.types import RequestView
from lockstep.custody.view.words.text import quoted
from lockstep.custody.view.words.types import Detail, Words

_SPELLED = 3


def describe_body(view: RequestView, body: TransactionBody) -> Words:
    """A transaction body in words."""
    own = {
        str(part.fields["cardano_transaction.address"])
        for part in view.parts
        if part.fields["cardano_transaction.is_own"] is True
    }
    others = [output for output in body.outputs if output.text not in own]
    kept = sum(output.lovelace for output in body.outputs if output.text in own)
    paid = [f"{_value(output)} to {output.text}" for output in others]
    sentence = "Send " + ", ".join(paid[:_SPELLED]) if paid else "Send nothing to others"
    if len(paid) > _SPELLED:
        sentence += f" and {len(paid) - _SPELLED} more payments"
    sentence += f" on Cardano, for a fee of {_ada(body.fee)}"
    extras = _extras(body)
    if extras:
        sentence += f"; it also {', '.join(extras)}"
    details = [
        *(
            Detail("Output" if output.text not in own else "Back to this wallet", _value(output), _output(output))
            for output in body.outputs
        ),
        Detail("Fee", _ada(body.fee)),
        Detail("Kept by this wallet", _ada(kept)),
        *(Detail("Input", f"{one.transaction_id.hex()}#{one.index}") for one in body.inputs),
        *(Detail("Certificate", one) for one in body.certificates),
        *(Detail("Withdrawal", f"{_ada(amount)} from {who}") for who, amount in body.withdrawals),
        *(Detail("Burnt" if one.amount < 0 else "Made", _token(one)) for one in body.mint),
        Detail("Valid until slot", "for ever" if body.ttl is None else str(body.ttl)),
        Detail("Transaction", body.id.hex()),
    ]
    warnings = [
        "What the inputs are worth cannot be seen here: what is not paid out or kept goes into the fee and deposits."
    ]
    if body.has_scripts:
        warnings.insert(0, "Scripts run in this transaction; if one fails, its collateral is lost.")
    return Words(sentence=sentence, details=tuple(details), warnings=tuple(warnings))


def _extras(body: TransactionBody) -> list[str]:
    found = [f"makes a {one}" for one in body.certificates]
    found += [f"withdraws {_ada(amount)}" for _, amount in body.withdrawals]
    found += [f"{'burns' if one.amount < 0 else 'makes'} {_token(one)}" for one in body.mint]
    if body.donation:
        found.append(f"gives {_ada(body.donation)} to the treasury")
    if body.has_scripts:
        found.append("runs scripts")
    return found


def _output(output: Output) -> tuple[Detail, ...]:
    notes = [("Datum", output.has_datum), ("Script", output.has_script)]
    return (
        Detail("To", output.text),
        *(Detail("Token", _token(token)) for token in output.tokens),
        *(Detail(name, "carried along") for name, there in notes if there),
    )


def _value(output: Output) -> str:
    return " and ".join([_ada(output.lovelace), *(_token(token) for token in output.tokens)])


def _ada(lovelace: int) -> str:
    return f"{format_units(lovelace, 6)} ADA"


def _token(token: Token) -> str:
    """Its name is anybody's choice, so the policy that it belongs to is always told."""
    name = quoted(token.name.decode(), limit=32) if token.name.isascii() and token.name else "0x" + token.name.hex()
    return f"{abs(token.amount):,} units of the token {name} of policy {token.policy_id.hex()}"
