"""Stories of orders and swaps that do not go the straight way: cancelled, underfunded, odd tokens, used permits."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from eth_account.signers.local import LocalAccount
from tests.journeys.support import FIRST, TERMINAL, Deployment, new_key, until
from tests.journeys.traders import Market

from lockstep.app.demo import external_maker, external_resolver
from lockstep.app.demo.own_node import TOKEN, OutsideFailed
from lockstep.app.demo.swaps import Offer
from lockstep.app.devnet import contracts
from lockstep.chains.evm import Address, abi_encode
from lockstep.client import AsyncClient, BookOrder, ProblemError

FEE_TOKEN = Path(__file__).parents[2] / "contracts" / "evm" / "test-artifacts" / "DemoFeeToken.json"
PERMIT = {
    "Permit": [
        {"name": "owner", "type": "address"},
        {"name": "spender", "type": "address"},
        {"name": "value", "type": "uint256"},
        {"name": "nonce", "type": "uint256"},
        {"name": "deadline", "type": "uint256"},
    ]
}


@contextmanager
def blocks_by_hand(deployment: Deployment) -> Iterator[None]:
    """No block comes by itself on the first chain."""
    deployment.ask("evm_setIntervalMining", 0)
    try:
        yield
    finally:
        deployment.ask("evm_setIntervalMining", 1)


class NewMaker:
    """A maker with a fresh key, some coins and nothing else; its orders sell the source token."""

    def __init__(self, market: Market) -> None:
        self.market = market
        self.account: LocalAccount = Account.create()
        market.deployment.fund(FIRST, self.account.address.lower(), 10**18)
        self.client: AsyncClient = market.run(market.log_in(self.account))

    def offer(self, *, permit: bytes = b"", **changes: Any) -> Offer:
        order, secret = self.market.run(self.market.order(self.account.address, **changes))
        signature = self.market.sign_with(self.account, order)
        self.market.run(self.market.post(self.client, order, signature, permit))
        return Offer(order, self.market.hash(order), secret)

    def send(self, name: str, *args: object, token: str | None = None) -> None:
        source = self.market.nodes[0]
        self.market.run(source.send(self.account, TOKEN, token or self.market.cast.sides[0].token, name, *args))

    def permit(self, value: int) -> tuple[bytes, tuple[Any, ...]]:
        """An EIP-2612 permit for the factory: as the factory takes it, and as anybody may send it to the token."""
        source, token = self.market.nodes[0], self.market.cast.sides[0].token
        deadline = 2**256 - 1
        domain = {
            "name": "Lockstep Demo Alpha",
            "version": "1",
            "chainId": source.chain_id,
            "verifyingContract": token,
        }
        message = {
            "owner": self.account.address,
            "spender": source.factory,
            "value": value,
            "nonce": self.market.run(source.read(TOKEN, token, "nonces", self.account.address)),
            "deadline": deadline,
        }
        signed = self.account.sign_typed_data(domain, PERMIT, message)
        r, s = signed.r.to_bytes(32, "big"), signed.s.to_bytes(32, "big")
        packed = abi_encode(["uint256", "uint256", "uint8", "bytes32", "bytes32"], [value, deadline, signed.v, r, s])
        return packed, (self.account.address, source.factory, value, deadline, signed.v, r, s)

    async def settle(self, made: Offer, swap_id: str) -> str:
        _, locked = await external_maker.wait_for_locks(made.order, made.hash, *self.market.nodes)
        await external_maker.release_secret(self.client, made.hash, made.secret, self.market.nodes[1], locked)
        return (await self.client.wait_swap(swap_id, 120)).state


def wait_validity(market: Market, made: Offer, validity: str) -> BookOrder:
    return market.run(market.wait_order(made, validity=validity))


def refused_fill(market: Market, made: Offer, status: int, code: str) -> None:
    body = {
        "mode": "managed",
        "wallet_id": market.cast.resolver.wallet.id,
        "session_signer_id": market.cast.coordinator_session,
    }
    market.caller(market.resolver).refused(status, code, "POST", f"/v1/orders/{made.name}/fills", body, key=new_key())


# --- funds ------------------------------------------------------------------------------------------------------------


def test_order__of_a_maker_without_funds__is_kept_with_its_validity_and_comes_back(market: Market) -> None:
    maker = NewMaker(market)
    made = maker.offer()
    amount, source = made.order.source_amount, market.nodes[0]

    assert market.run(maker.client.get_order(made.name)).validity == "balance_low"
    refused_fill(market, made, 409, "order_not_fillable")
    market.deployment.mint(FIRST, maker.account.address.lower(), amount)
    wait_validity(market, made, "allowance_low")
    refused_fill(market, made, 409, "order_not_fillable")
    maker.send("approve", source.factory, amount)
    assert wait_validity(market, made, "ok").state == "open"
    maker.send("transfer", market.cast.maker.wallet.address, 1)
    wait_validity(market, made, "balance_low")
    refused_fill(market, made, 409, "order_not_fillable")
    market.deployment.mint(FIRST, maker.account.address.lower(), 1)
    wait_validity(market, made, "ok")

    swap = market.run(market.take(made))
    assert market.run(maker.settle(made, swap.id)) == "settled"


def test_fill__with_a_token_that_keeps_a_fee__fails_cleanly_and_everything_is_back(market: Market) -> None:
    document = json.loads(FEE_TOKEN.read_text())
    maker, source = NewMaker(market), market.nodes[0]
    arguments = abi_encode(["string", "string", "uint8"], ["Fee", "FEE", 18])
    node = market.deployment.chain(FIRST)
    deploy = contracts.send(node, [{"data": document["bytecode"] + arguments.hex()}])
    token = Address(market.deployment.run(deploy)[0]["contractAddress"])
    market.deployment.run(contracts.mint(node, token, Address(maker.account.address.lower()), 10**18))
    maker.send("approve", source.factory, 10**18, token=token)
    made = maker.offer(source_token=token, source_amount=10**18)
    assert wait_validity(market, made, "ok").state == "open"
    before = market.run(market.tokens())

    swap = market.run(market.take(made))
    ended = market.run(market.resolver.wait_swap(swap.id, 120))

    assert ended.state == "cancelled", (ended.state, ended.reason)
    assert "source was not locked" in ended.reason
    order = market.run(market.wait_order(made, state="open"))
    assert [fill.settlement_state for fill in order.fills] == ["cancelled"]
    assert market.run(market.tokens()) == before
    assert market.deployment.token_balance(maker.account.address, token=token) == 10**18
    assert set(market.run(market.effects(made.hash)).values()) == {0}
    legs = market.deployment.rows("select leg from swap_legs where swap_id = %s", swap.id)
    assert [row["leg"] for row in legs] == ["source_lock"]
    assert market.run(maker.client.cancel_order(made.name)).cancel_requested_at is not None


@pytest.mark.parametrize("is_front_run", [False, True])
def test_fill__with_a_permit__works_even_if_somebody_used_it_first(market: Market, is_front_run: bool) -> None:
    maker, source = NewMaker(market), market.nodes[0]
    amount = market.trade().source_amount
    market.deployment.mint(FIRST, maker.account.address.lower(), amount)
    permit, call = maker.permit(amount)
    made = maker.offer(permit=permit)
    assert wait_validity(market, made, "ok").permit == permit
    if is_front_run:
        token = market.cast.sides[0].token
        market.run(source.send(market.strangers.resolver, TOKEN, token, "permit", *call))

    swap = market.run(market.take(made))
    assert market.run(maker.settle(made, swap.id)) == "settled"
    assert market.deployment.token_balance(maker.account.address) == 0
    assert market.deployment.token_balance(maker.account.address, market.nodes[1].chain) == made.order.price.end_amount


# --- cancellation -----------------------------------------------------------------------------------------------------


def test_cancel__by_the_maker__stops_offers_at_once_and_is_cancelled_only_when_final(market: Market) -> None:
    deployment, made = market.deployment, market.run(market.offer())
    maker, path = market.caller(market.maker), f"/v1/orders/{made.name}"
    with blocks_by_hand(deployment):
        asked = maker.call("DELETE", path)
        assert asked["cancel_requested_at"] is not None
        assert (asked["state"], asked["validity"]) == ("open", "ok")
        assert maker.call("DELETE", path)["version"] == asked["version"]
        refused_fill(market, made, 409, "order_not_open")
        until(lambda: pending(deployment), "the invalidation to be sent")

        deployment.mine()
        market.run(market.wait_order(made, validity="nonce_used"))
        for _ in range(2):
            head = int(deployment.ask("eth_blockNumber"), 16)
            until(lambda head=head: followed(deployment) >= head, "the follower")
            assert maker.call("GET", path)["state"] == "open", "cancelled before it was final"
            deployment.mine()
        order = market.run(market.wait_order(made, state="cancelled"))
    assert (order.validity, order.fills) == ("nonce_used", ())
    until(lambda: cancellation(deployment, made, "final"), "the engine, which looks by itself, to call it final")
    maker.refused(409, "order_not_open", "DELETE", path)
    refused_fill(market, made, 409, "order_not_open")
    assert set(market.run(market.effects(made.hash)).values()) == {0}


def test_cancel__while_the_source_is_being_locked__the_fill_that_came_first_settles(market: Market) -> None:
    deployment, before = market.deployment, market.run(market.tokens())
    made = market.run(market.offer())
    with blocks_by_hand(deployment):
        swap = market.run(market.take(made))
        until(lambda: pending(deployment), "the transaction that locks")
        asked = market.run(market.maker.cancel_order(made.name))
        assert (asked.state, asked.cancel_requested_at is not None) == ("open", True)
        ended = until(lambda: cancellation(deployment, made, *TERMINAL), "the end of the invalidation")
        assert (ended["state"], "NonceAlreadyUsed" in ended["reason"]) == ("dropped", True)
        deployment.mine()
    settled = market.run(market.settle(made, swap.id))
    assert settled.state == "settled", (settled.state, settled.reason)
    order = market.run(market.wait_order(made, state="filled"))
    assert order.cancel_requested_at is not None
    after = market.run(market.tokens())
    price = made.order.price.end_amount
    assert after["maker"] == (before["maker"][0] - made.order.source_amount, before["maker"][1] + price)
    market.caller(market.maker).refused(409, "order_not_open", "DELETE", f"/v1/orders/{made.name}")


def test_cancel__invalidation_dropped_for_a_fill_that_never_landed__is_sent_again_when_asked_again(
    market: Market,
) -> None:
    deployment, strangers, source = market.deployment, market.strangers, market.nodes[0]
    resolver = market.run(market.log_in(strangers.resolver))
    made = market.run(market.offer())
    seen = market.run(external_resolver.register(resolver, strangers.resolver, made.name, source))
    with blocks_by_hand(deployment):
        locking = market.begin(external_resolver.lock_source(strangers.resolver, seen, *market.nodes))
        until(lambda: pending(deployment), "the transaction that locks")
        market.run(market.maker.cancel_order(made.name))
        until(lambda: cancellation(deployment, made, "dropped"), "the invalidation to be found useless")
        deployment.ask("anvil_dropAllTransactions")
        locking.cancel()
        deployment.mine()
        again = market.run(market.maker.cancel_order(made.name))
        assert (again.state, again.cancel_requested_at is not None) == ("open", True)
        until(lambda: pending(deployment), "the invalidation to be sent again")
    assert market.run(market.wait_order(made, state="cancelled")).validity == "nonce_used"
    sent = deployment.rows(
        "select state from transactions where idempotency_key like %s order by created_at", f"order:{made.name}:cancel%"
    )
    assert [row["state"] for row in sent] == ["dropped", "final"]
    assert set(market.run(market.effects(made.hash)).values()) == {0}
    market.run(market.warp(70))


def test_cancel__before_the_source_is_locked__the_fill_ends_cancelled_and_nothing_moves(market: Market) -> None:
    strangers, source, before = market.strangers, market.nodes[0], market.run(market.tokens())
    resolver = market.run(market.log_in(strangers.resolver))
    made = market.run(market.offer())
    seen = market.run(external_resolver.register(resolver, strangers.resolver, made.name, source))
    swap_id = market.run(resolver.get_order(made.name)).fills[0].swap_id
    market.run(market.maker.cancel_order(made.name))
    market.run(market.wait_order(made, state="cancelled"))

    with pytest.raises(OutsideFailed, match="Nonce"):
        market.run(external_resolver.lock_source(strangers.resolver, seen, *market.nodes))
    market.run(market.warp(70))
    ended = market.run(resolver.wait_swap(swap_id, 60))
    assert (ended.state, market.run(market.tokens())) == ("cancelled", before)
    with pytest.raises(ProblemError, match="order_not_open"):
        market.run(external_resolver.register(resolver, strangers.resolver, made.name, source))
    assert market.run(market.maker.get_order(made.name)).state == "cancelled"


def cancellation(deployment: Deployment, made: Offer, *states: str) -> dict[str, Any] | None:
    """The newest transaction that invalidates an order, once it is in one of these states."""
    found = deployment.rows(
        "select state, reason from transactions where idempotency_key like %s order by created_at desc limit 1",
        f"order:{made.name}:cancel%",
    )
    return found[0] if found and found[0]["state"] in states else None


def pending(deployment: Deployment) -> int:
    """Transactions that wait for a block."""
    return int(deployment.ask("txpool_status")["pending"], 16)


def followed(deployment: Deployment) -> int:
    """The last block of the first chain that the book has followed."""
    found = deployment.rows("select * from chain_checkpoints where chain = %s and follower = 'auctions'", FIRST)
    return int(found[0]["block_number"]) if found else -1
