"""Calls in words. A call is named only when its data is the canonical form of a function that we know."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from lockstep.chains.evm import (
    Contract,
    FunctionCall,
    MalformedCalldata,
    UnknownArtifact,
)
from lockstep.custody.view.types import Call
from lockstep.custody.view.words.text import (
    UNLIMITED,
    address_text,
    allowance_text,
    chain_text,
    contract_text,
    foreign_address,
    moment_text,
    native_text,
    quoted,
    token_text,
    value_detail,
)
from lockstep.custody.view.words.types import Detail, WordFacts, Words

FACTORY = "EscrowFactory"
_ESCROWS = ("SourceEscrow", "DestinationEscrow")
_LONGEST_DATA = 2_048


def _function(name: str, *inputs: tuple[str, str]) -> dict[str, Any]:
    return {
        "type": "function",
        "name": name,
        "inputs": [{"name": label, "type": kind} for label, kind in inputs],
        "outputs": [],
    }


_ERC20 = Contract(
    [
        _function("transfer", ("to", "address"), ("amount", "uint256")),
        _function("approve", ("spender", "address"), ("amount", "uint256")),
        _function("transferFrom", ("from", "address"), ("to", "address"), ("amount", "uint256")),
        _function(
            "permit",
            ("owner", "address"),
            ("spender", "address"),
            ("value", "uint256"),
            ("deadline", "uint256"),
            ("v", "uint8"),
            ("r", "bytes32"),
            ("s", "bytes32"),
        ),
    ],
    "ERC-20",
)


def describe_call(call: Call, chain: str | None, facts: WordFacts) -> Words:
    """One call in words, without where and by whom it is made."""
    value = native_text(facts, chain, call.value)
    if call.to is None:
        sentence = f"Create a contract from {len(call.data):,} bytes of code" + (
            f", with {value}" if call.value else ""
        )
        content: tuple[Detail, ...] = (_data(call.data),)
        warnings = ["A new contract can do anything with what it is given."]
    elif not call.data:
        sentence, content, warnings = f"Send {value} to {address_text(call.to)}", (), []
    else:
        sentence, content, warnings = _call(call.to, call.value, call.data, chain, facts)
    to = "a new contract" if call.to is None else contract_text(facts, chain, call.to)
    details = (Detail("To", to), Detail("Value", value), *content)
    return Words(sentence=sentence, details=details, warnings=tuple(warnings))


def _call(
    to: str, value: int, data: bytes, chain: str | None, facts: WordFacts
) -> tuple[str, tuple[Detail, ...], list[str]]:
    target = contract_text(facts, chain, to)
    with_value = f", sending {native_text(facts, chain, value)} along" if value else ""
    contract, call = _decode(data, facts.contracts.get((chain or "", to)))
    if call is None:
        name = f"an unknown function {'0x' + data[:4].hex()}" if len(data) >= 4 else f"with unknown data 0x{data.hex()}"
        sentence = f"Call {name} of {target}" if len(data) >= 4 else f"Call {target} {name}"
        size = f" with {len(data) - 4:,} bytes of arguments" if len(data) > 4 else ""
        return sentence + size + with_value, (_data(data),), ["What this call does is not known here."]
    warnings = []
    is_token = contract == "ERC-20"
    known = (chain or "", to) in (facts.tokens if is_token else facts.contracts)
    if not known:
        what = "not a token that is registered here" if is_token else "not a contract that is known here"
        warnings.append(f"{address_text(to)} is {what}; that it does what its function says was not checked.")
    saying = _SENTENCES.get((contract, call.name))
    sentence = f"Call {call.name} of {target}" if saying is None else saying(call.args, to, chain, facts)
    allowed = {"approve": "amount", "permit": "value"}.get(call.name)
    if is_token and allowed is not None and call.args[allowed] >= UNLIMITED:
        warnings.append("The allowance is unlimited: the spender can take everything, now and later.")
    if call.name == "createSource":
        with_value = f", with a safety deposit of {native_text(facts, chain, value)}" if value else ""
    elif call.name == "createDestination" and value == call.args["immutables"]["safetyDeposit"]:
        with_value = f", with a safety deposit of {native_text(facts, chain, value)}"
    function = Detail("Function", call.signature, tuple(value_detail(name, part) for name, part in call.args.items()))
    return sentence + with_value, (function, _data(data)), warnings


_Args = Mapping[str, Any]
_Saying = Callable[[_Args, str, str | None, WordFacts], str]


def _transfer(args: _Args, to: str, chain: str | None, facts: WordFacts) -> str:
    return f"Send {token_text(facts, chain, to, args['amount'])} to {address_text(args['to'])}"


def _approve(args: _Args, to: str, chain: str | None, facts: WordFacts) -> str:
    if args["amount"] == 0:
        return f"Take back the allowance of {address_text(args['spender'])} over {_token_name(facts, chain, to)}"
    return f"Allow {address_text(args['spender'])} to spend {allowance_text(facts, chain, to, args['amount'])}"


def _transfer_from(args: _Args, to: str, chain: str | None, facts: WordFacts) -> str:
    amount = token_text(facts, chain, to, args["amount"])
    return f"Move {amount} from {address_text(args['from'])} to {address_text(args['to'])}"


def _permit(args: _Args, to: str, chain: str | None, facts: WordFacts) -> str:
    amount = allowance_text(facts, chain, to, args["value"])
    who = f"{address_text(args['spender'])} to spend {amount} of {address_text(args['owner'])}"
    return f"Hand in the permit that allows {who}"


def _create_source(args: _Args, _to: str, chain: str | None, facts: WordFacts) -> str:
    order = args["order"]
    amount = token_text(facts, chain, order["sourceToken"], order["sourceAmount"])
    return (
        f"Take the order of maker {address_text(order['maker'])}: lock the maker's {amount} in escrow against "
        f"{destination_text(order['destination'], order['price']['endAmount'], facts)}"
    )


def _create_destination(args: _Args, _to: str, chain: str | None, facts: WordFacts) -> str:
    locked = args["immutables"]
    amount = token_text(facts, chain, locked["token"], locked["amount"])
    return f"Lock {amount} in escrow for {address_text(locked['maker'])}"


def _invalidate(args: _Args, _to: str, _chain: str | None, _facts: WordFacts) -> str:
    return f"Cancel every own order with nonce {args['nonce']}"


def _withdraw(args: _Args, to: str, chain: str | None, facts: WordFacts) -> str:
    target = f" to {address_text(args['target'])}" if "target" in args else ""
    return f"Reveal the secret and withdraw {_escrowed(args, chain, facts)} from escrow {address_text(to)}{target}"


def _cancel(args: _Args, to: str, chain: str | None, facts: WordFacts) -> str:
    return f"Cancel escrow {address_text(to)} and return {_escrowed(args, chain, facts)}"


def _rescue(args: _Args, to: str, chain: str | None, facts: WordFacts) -> str:
    return f"Rescue {token_text(facts, chain, args['token'], args['amount'])} from escrow {address_text(to)}"


_SENTENCES: dict[tuple[str, str], _Saying] = {
    ("ERC-20", "transfer"): _transfer,
    ("ERC-20", "approve"): _approve,
    ("ERC-20", "transferFrom"): _transfer_from,
    ("ERC-20", "permit"): _permit,
    (FACTORY, "createSource"): _create_source,
    (FACTORY, "createDestination"): _create_destination,
    (FACTORY, "invalidateNonce"): _invalidate,
    **{
        (escrow, name): saying
        for escrow in _ESCROWS
        for name, saying in {
            "withdraw": _withdraw,
            "withdrawTo": _withdraw,
            "publicWithdraw": _withdraw,
            "cancel": _cancel,
            "publicCancel": _cancel,
            "rescueFunds": _rescue,
        }.items()
    },
}


def destination_text(destination: Mapping[str, Any], least: int, facts: WordFacts) -> str:
    """ "at least 990 TKB (token 0x…) on Devnet Two (eip155:31338) to 0x…"."""
    chain = destination["chain"]
    token, receiver = foreign_address(destination["token"]), foreign_address(destination["receiver"])
    if token is None or receiver is None or not chain.startswith("eip155:"):
        where = chain_text(facts, chain) if chain in facts.chains else f"the unknown chain {quoted(chain)}"
        raw_token, raw_receiver = "0x" + destination["token"].hex(), "0x" + destination["receiver"].hex()
        return f"at least {least:,} smallest units of token {raw_token} on {where} to {raw_receiver}"
    where = chain_text(facts, chain) if chain in facts.chains else f"the unknown chain {quoted(chain)}"
    return f"at least {token_text(facts, chain, token, least)} on {where} to {address_text(receiver)}"


def _escrowed(args: _Args, chain: str | None, facts: WordFacts) -> str:
    locked = args["immutables"]
    return token_text(facts, chain, locked["token"], locked["amount"])


def _token_name(facts: WordFacts, chain: str | None, token: str) -> str:
    known = facts.tokens.get((chain or "", token))
    return f"{known.symbol} (token {address_text(token)})" if known else f"the unregistered token {address_text(token)}"


def _decode(data: bytes, contract: str | None) -> tuple[str, FunctionCall | None]:
    """The call and the contract whose function it is; a contract that we know by address is asked first."""
    ours = [name for name in (FACTORY, *_ESCROWS) if name != contract]
    names = [contract, "ERC-20", *ours] if contract is not None else ["ERC-20", *ours]
    for name in names:
        codec = _ERC20 if name == "ERC-20" else _codec(str(name))
        try:
            call = codec.decode_call(data) if codec is not None else None
        except MalformedCalldata:
            return str(name), None
        if call is not None:
            return str(name), call
    return "", None


@cache
def _codec(name: str) -> Contract | None:
    try:
        return Contract.load(name)
    except UnknownArtifact:
        return None


def _data(data: bytes) -> Detail:
    shown = "0x" + data[:_LONGEST_DATA].hex()
    more = f"… ({len(data):,} bytes in all)" if len(data) > _LONGEST_DATA else ""
    return Detail("Data", shown + more)


def deadline_text(seconds: int) -> str:
    """ "until 2026-03-03 14:32:05 UTC"."""
    return f"until {moment_text(seconds)}"
