"""The policies of the demo's actors: what each key may sign, and nothing else."""

from __future__ import annotations

from typing import Any

from lockstep.chains.evm import Contract, parse_chain

DEPOSIT = 10**15
"""Safety deposit of a swap in the demo, wei."""

Rule = dict[str, Any]
_ESCROW_CALLS = (
    ("SourceEscrow", ("withdraw", "cancel")),
    ("DestinationEscrow", ("withdraw", "cancel")),
)


def wallet_of_maker(*, chain: str, token: str, factory: str, payee: str, most_wei: int) -> dict[str, Any]:
    """The maker pays one payee up to a limit, lets the factory take its tokens, signs orders and cancels them."""
    return _document(
        "Maker",
        _send("pay", chain, ("to", "eq", payee), ("value", "lte", str(most_wei)), ("data", "eq", "0x")),
        _send("approve-factory", chain, ("to", "eq", token), ("value", "eq", "0"), calldata=_approve(factory)),
        _send(
            "cancel-orders",
            chain,
            ("to", "eq", factory),
            ("value", "eq", "0"),
            _selector("EscrowFactory", "invalidateNonce"),
        ),
        {
            "id": "sign-orders",
            "name": "sign-orders",
            "method": "eth_signTypedData_v4",
            "action": "ALLOW",
            "conditions": [
                _condition("ethereum_typed_data_domain", "chain_id", "eq", str(parse_chain(chain))),
                _condition("ethereum_typed_data_domain", "verifying_contract", "eq", factory),
            ],
        },
    )


def wallet_of_resolver(*, sides: dict[str, tuple[str, str]], friend: str) -> dict[str, Any]:
    """The resolver fills orders on both chains, and may pay a friend.

    Args:
        sides: (factory, token) by chain.
    """
    rules = [
        _send(
            "pay-friend", next(iter(sides)), ("to", "eq", friend), ("data", "eq", "0x"), ("value", "lte", str(10**18))
        )
    ]
    for chain, (factory, token) in sides.items():
        rules.append(
            _send(
                f"approve-{parse_chain(chain)}",
                chain,
                ("to", "eq", token),
                ("value", "eq", "0"),
                calldata=_approve(factory),
            )
        )
        rules += _fill_rules(chain, factory)
    return _document("Resolver", *rules)


def session_of_bot(*, sides: dict[str, tuple[str, str]]) -> dict[str, Any]:
    """The bot and the coordinator only fill orders: no payment, no approval."""
    return _document(
        "Resolver session", *(rule for chain, (factory, _) in sides.items() for rule in _fill_rules(chain, factory))
    )


def _fill_rules(chain: str, factory: str) -> list[Rule]:
    number = parse_chain(chain)
    lock = [_selector("EscrowFactory", name)[2] for name in ("createSource", "createDestination")]
    claims = sorted({_selector(contract, name)[2] for contract, names in _ESCROW_CALLS for name in names})
    return [
        _send(
            f"lock-{number}",
            chain,
            ("to", "eq", factory),
            ("value", "lte", str(DEPOSIT)),
            ("function_selector", "in", lock),
        ),
        _send(f"claim-{number}", chain, ("value", "eq", "0"), ("function_selector", "in", claims)),
    ]


def _send(
    name: str, chain: str, *conditions: tuple[str, str, Any], calldata: list[dict[str, Any]] | None = None
) -> Rule:
    return {
        "id": name,
        "name": name,
        "method": "eth_sendTransaction",
        "action": "ALLOW",
        "conditions": [
            _condition("ethereum_transaction", "chain_id", "eq", str(parse_chain(chain))),
            *(_condition("ethereum_transaction", *condition) for condition in conditions),
            *(calldata or []),
        ],
    }


def _approve(spender: str) -> list[dict[str, Any]]:
    abi = [
        {
            "type": "function",
            "name": "approve",
            "inputs": [{"name": "spender", "type": "address"}, {"name": "amount", "type": "uint256"}],
        }
    ]
    return [{**_condition("ethereum_calldata", "approve.spender", "eq", spender), "abi": abi}]


def _selector(contract: str, function: str) -> tuple[str, str, Any]:
    return "function_selector", "eq", "0x" + Contract.load(contract).selector(function).hex()


def _condition(source: str, field: str, operator: str, value: Any) -> dict[str, Any]:
    return {"field_source": source, "field": field, "operator": operator, "value": value}


def _document(name: str, *rules: Rule) -> dict[str, Any]:
    return {"version": "1.0", "name": name, "chain_type": "ethereum", "rules": list(rules)}
