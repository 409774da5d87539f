"""Orders, fills and secrets with every kind of fault, over HTTP: a stable code, and no row written."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from eth_account import Account
from eth_account.signers.local import LocalAccount
from tests.journeys.support import Caller, Deployment, new_key, problem
from tests.journeys.traders import Market

from lockstep.app.demo.swaps import Offer
from lockstep.client import PriceCurve, SwapOrder, order_typed_data

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
"""Of the curve secp256k1."""
HUGE = "9" * 300
TABLES = (
    "orders",
    "order_owners",
    "order_fills",
    "swaps",
    "swap_parties",
    "swap_secrets",
    "swap_legs",
    "transactions",
    "escrows",
)
ELSE = "0x00000000000000000000000000000000000000e1"
Change = Callable[[SwapOrder], SwapOrder]


def price(**changes: Any) -> Change:
    return lambda order: replace(order, price=replace(order.price, **changes))


def locks(**changes: Any) -> Change:
    return lambda order: replace(order, time_locks=replace(order.time_locks, **changes))


def members(**changes: Any) -> Change:
    return lambda order: replace(order, **changes)


SIGNED: dict[str, tuple[Change, int, str]] = {
    # What the maker itself signed, and should not have.
    "source amount zero": (members(source_amount=0), 422, "order_amount_invalid"),
    "destination amount zero": (price(end_amount=0), 422, "order_amount_invalid"),
    "source amount nobody can compute with": (members(source_amount=2**256 - 1), 422, "order_amount_invalid"),
    "destination amount nobody can compute with": (price(end_amount=2**256 - 1), 422, "order_amount_invalid"),
    "expired": (lambda o: replace(o, expiry=o.price.start_time - 1, price=started(o, -100)), 422, "order_expired"),
    "expiry before the start": (lambda o: replace(o, expiry=o.price.start_time - 1), 422, "order_times_invalid"),
    "expiry in a hundred years": (lambda o: replace(o, expiry=o.expiry + 3_155_760_000), 422, "order_times_invalid"),
    "auction without time": (price(duration=0), 422, "price_curve_invalid"),
    "source windows out of order": (locks(source_public_withdrawal=2), 422, "time_locks_unfit"),
    "source cancellation twice": (locks(source_public_cancellation=4_000), 422, "time_locks_unfit"),
    "destination windows out of order": (locks(destination_withdrawal=1_600), 422, "time_locks_unfit"),
    "destination cancelled after the source": (locks(destination_cancellation=4_100), 422, "time_locks_unfit"),
    "window of no time": (locks(source_withdrawal=0), 422, "time_locks_unfit"),
    "hashlock zero": (members(hashlock_info=bytes(32)), 422, "hashlock_invalid"),
    "extension that nobody knows": (members(extension_hash=b"\1" * 32), 422, "extension_unsupported"),
    "another destination factory": (
        lambda o: replace(o, destination=replace(o.destination, factory=bytes.fromhex(ELSE[2:]))),
        422,
        "factory_unknown",
    ),
    "destination on the same chain": (
        lambda o: replace(o, destination=replace(o.destination, chain="eip155:31337")),
        422,
        "factory_unknown",
    ),
    "destination chain that nobody knows": (
        lambda o: replace(o, destination=replace(o.destination, chain="eip155:5")),
        422,
        "unknown_chain",
    ),
    "receiver zero": (
        lambda o: replace(o, destination=replace(o.destination, receiver=bytes(20))),
        422,
        "destination_invalid",
    ),
    "receiver of another length": (
        lambda o: replace(o, destination=replace(o.destination, receiver=bytes(31) + b"\1")),
        422,
        "destination_invalid",
    ),
    "the same taker twice": (members(allowed_takers=(ELSE, ELSE)), 422, "allowed_takers_invalid"),
}


def started(order: SwapOrder, seconds: int) -> PriceCurve:
    """The price curve begun so many seconds later, or earlier."""
    return replace(order.price, start_time=order.price.start_time + seconds)


def sent(path: str, value: object) -> Callable[[dict[str, Any]], None]:
    """Overwrite a member of what is sent, by its dotted path."""

    def change(body: dict[str, Any]) -> None:
        *way, last = path.split(".")
        for step in way:
            body = body[step]
        body[last] = value

    return change


SENT: dict[str, tuple[Callable[[dict[str, Any]], None], int, str]] = {
    # What stands in the request otherwise than it was signed.
    "amount of 300 digits": (sent("order.sourceAmount", HUGE), 422, "validation_failed"),
    "price of 300 digits": (sent("order.price.endAmount", HUGE), 422, "validation_failed"),
    "deposit of 300 digits": (sent("order.deposits.source", HUGE), 422, "validation_failed"),
    "nonce of 300 digits": (sent("order.nonce", HUGE), 422, "validation_failed"),
    "amount as a number": (sent("order.sourceAmount", 7), 422, "validation_failed"),
    "negative amount": (sent("order.sourceAmount", "-1"), 422, "validation_failed"),
    "fraction": (sent("order.sourceAmount", "1.5"), 422, "validation_failed"),
    "negative time": (sent("order.expiry", -1), 422, "validation_failed"),
    "time above 64 bits": (sent("order.expiry", 2**64), 422, "validation_failed"),
    "time lock above 32 bits": (sent("order.timeLocks.sourceWithdrawal", 2**32), 422, "validation_failed"),
    "unknown member": (sent("colour", "red"), 422, "validation_failed"),
    "unknown member of the order": (sent("order.colour", "red"), 422, "validation_failed"),
    "unknown member inside": (sent("order.price.colour", "red"), 422, "validation_failed"),
    "hashlock too short": (sent("order.hashlockInfo", "0x12"), 422, "validation_failed"),
    "signature of nobody": (sent("signature", "0x" + "11" * 65), 422, "bad_signature"),
    "signature too short": (sent("signature", "0x" + "11" * 64), 422, "bad_signature"),
    "no signature": (sent("signature", "0x"), 422, "bad_signature"),
    "signature not hex": (sent("signature", "0xzz"), 422, "validation_failed"),
    "signature kind of a contract": (sent("signature_kind", "eip1271"), 422, "order_signature_invalid"),
    "another amount than was signed": (sent("order.sourceAmount", "12345"), 422, "order_signature_invalid"),
    "permit of another form": (sent("permit", "0x1234"), 422, "permit_invalid"),
    "another source factory": (sent("source_factory", ELSE), 422, "factory_unknown"),
    "source chain that nobody knows": (sent("source_chain", "eip155:5"), 422, "unknown_chain"),
    "source chain that is none": (sent("source_chain", "mainnet"), 422, "validation_failed"),
}


class Foreigner:
    """A maker with a key of its own, signed in; it sends what it likes."""

    def __init__(self, market: Market, account: LocalAccount) -> None:
        self.market, self.account = market, account
        self.client = market.run(market.log_in(account))
        self.caller: Caller = market.caller(self.client)

    def order(self, **changes: Any) -> SwapOrder:
        order, _ = self.market.run(self.market.order(self.account.address, **changes))
        return order

    def body(self, order: SwapOrder) -> dict[str, Any]:
        return self.market.body(order, self.market.sign_with(self.account, order))

    def refused(self, body: dict[str, Any], status: int, code: str) -> None:
        self.caller.refused(status, code, "POST", "/v1/orders", body)


@pytest.fixture(scope="module")
def foreigner(market: Market) -> Foreigner:
    return Foreigner(market, Account.create())


@pytest.fixture
def nothing_written(deployment: Deployment) -> Callable[[], None]:
    """Asserts that no row was written since the test began."""

    def count() -> dict[str, int]:
        query = " union all ".join(f"select '{name}' as name, count(*) as n from {name}" for name in TABLES)
        return {row["name"]: row["n"] for row in deployment.rows(query)}

    before = count()

    def check() -> None:
        assert count() == before

    return check


# --- orders -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SIGNED)
def test_order__signed_with_a_fault__is_refused_by_its_own_code(
    foreigner: Foreigner, nothing_written: Callable[[], None], name: str
) -> None:
    change, status, code = SIGNED[name]
    foreigner.refused(foreigner.body(change(foreigner.order())), status, code)
    nothing_written()


@pytest.mark.parametrize("name", SENT)
def test_order__sent_with_a_fault__is_refused_by_its_own_code(
    foreigner: Foreigner, nothing_written: Callable[[], None], name: str
) -> None:
    change, status, code = SENT[name]
    body = foreigner.body(foreigner.order())
    change(body)
    foreigner.refused(body, status, code)
    nothing_written()


def test_order__signature_of_another_or_malleated_or_for_another_domain__is_refused(
    foreigner: Foreigner, market: Market, nothing_written: Callable[[], None]
) -> None:
    order, (source, destination) = foreigner.order(), market.nodes
    good = market.sign_with(foreigner.account, order)
    s = ORDER - int.from_bytes(good[32:64], "big")
    malleated = good[:32] + s.to_bytes(32, "big") + bytes([55 - good[64]])
    foreigner.refused(market.body(order, malleated), 422, "bad_signature")
    foreigner.refused(market.body(order, good[:64] + b"\x05"), 422, "bad_signature")
    foreigner.refused(market.body(order, market.sign_with(Account.create(), order)), 422, "order_signature_invalid")
    for chain_id, factory in ((destination.chain_id, source.factory), (source.chain_id, ELSE)):
        document = order_typed_data(order, chain_id, factory)
        signature = bytes(foreigner.account.sign_typed_data(full_message=document).signature)
        foreigner.refused(market.body(order, signature), 422, "order_signature_invalid")
    nothing_written()


def test_order__of_somebody_else__is_refused(
    foreigner: Foreigner, market: Market, nothing_written: Callable[[], None]
) -> None:
    other = Account.create()
    order, _ = market.run(market.order(other.address))
    foreigner.refused(market.body(order, market.sign_with(other, order)), 403, "not_the_maker")
    custody, _ = market.run(market.order())
    body = market.body(custody, market.run(market.sign(custody)))
    foreigner.refused(body, 403, "not_the_maker")
    market.caller(market.resolver).refused(403, "not_the_maker", "POST", "/v1/orders", body)
    problem(market.deployment.anybody.raw("POST", "/v1/orders", body), 401, "credentials_missing")
    nothing_written()


def test_order__replayed__is_the_same_order_and_nothing_else(
    foreigner: Foreigner, market: Market, deployment: Deployment, request: pytest.FixtureRequest
) -> None:
    order = foreigner.order()
    body = foreigner.body(order)
    first = foreigner.caller.raw("POST", "/v1/orders", body)
    assert (first.status_code, first.json()["validity"]) == (201, "balance_low")
    nothing_written: Callable[[], None] = request.getfixturevalue("nothing_written")

    again = foreigner.caller.raw("POST", "/v1/orders", body)
    assert (again.status_code, again.json()["hash"], again.json()["version"]) == (200, first.json()["hash"], 1)
    other = market.body(order, market.sign_with(Account.create(), order))
    foreigner.refused(other, 409, "order_signature_conflict")
    foreigner.refused(foreigner.body(replace(foreigner.order(), nonce=order.nonce)), 409, "nonce_used")
    foreigner.refused(
        foreigner.body(replace(foreigner.order(), hashlock_info=order.hashlock_info)), 409, "hashlock_used"
    )
    nothing_written()


# --- fills, secrets, cancellation -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def offered(market: Market) -> Offer:
    """An order of the custody maker that stays in the book."""
    return market.run(market.offer(valid_seconds=80_000))


def test_fill__with_a_fault_or_by_a_stranger__is_refused(
    market: Market, foreigner: Foreigner, offered: Offer, nothing_written: Callable[[], None]
) -> None:
    path, key = f"/v1/orders/{offered.name}/fills", new_key()
    resolver = market.caller(market.resolver)
    wallet, session = market.cast.resolver.wallet.id, market.cast.coordinator_session
    managed = {"mode": "managed", "wallet_id": wallet, "session_signer_id": session}
    faults: list[tuple[Caller, dict[str, Any], int, str]] = [
        (resolver, {**managed, "colour": "red"}, 422, "validation_failed"),
        (resolver, {**managed, "fill_index": 1}, 422, "validation_failed"),
        (resolver, {"mode": "half"}, 422, "validation_failed"),
        (resolver, {"mode": "managed"}, 422, "fill_invalid"),
        (resolver, {**managed, "taker": ELSE}, 422, "fill_invalid"),
        (resolver, {"mode": "external"}, 422, "fill_invalid"),
        (resolver, {"mode": "external", "taker": ELSE}, 403, "not_the_taker"),
        (foreigner.caller, {"mode": "external", "taker": ELSE}, 403, "not_the_taker"),
        (resolver, {**managed, "session_signer_id": wallet}, 403, "session_not_granted"),
        (resolver, {**managed, "wallet_id": market.cast.maker.wallet.id}, 403, "owner_required"),
    ]
    for caller, body, status, code in faults:
        caller.refused(status, code, "POST", path, body, key=new_key())
    resolver.refused(422, "validation_failed", "POST", path, managed)
    unknown = "0x" + secrets.token_hex(32)
    resolver.refused(404, "order_not_found", "POST", f"/v1/orders/{unknown}/fills", managed, key=key)
    answer = foreigner.caller.raw("POST", path, managed, headers={"Idempotency-Key": key})
    assert answer.status_code in (403, 404), answer.text
    problem(market.deployment.anybody.raw("POST", path, managed), 401, "credentials_missing")
    nothing_written()


def test_order_of_others__cancelled_or_revealed_by_a_stranger__is_refused(
    market: Market, foreigner: Foreigner, offered: Offer, nothing_written: Callable[[], None]
) -> None:
    path = f"/v1/orders/{offered.name}"
    body = {"fill_index": 0, "secret": "0x" + offered.secret.hex()}
    for caller in (foreigner.caller, market.caller(market.resolver), market.caller(market.cast.bot)):
        caller.refused(403, "not_the_maker", "DELETE", path)
        caller.refused(403, "not_the_maker", "POST", path + "/secrets", body)
    maker = market.caller(market.maker)
    maker.refused(404, "swap_not_found", "POST", path + "/secrets", body)
    maker.refused(422, "validation_failed", "POST", path + "/secrets", {**body, "secret": "0x12"})
    maker.refused(422, "validation_failed", "POST", path + "/secrets", {**body, "x": 1})
    maker.refused(404, "swap_not_found", "GET", path + "/fills/0/secret")
    unknown = "/v1/orders/0x" + secrets.token_hex(32)
    maker.refused(404, "order_not_found", "DELETE", unknown)
    maker.refused(404, "order_not_found", "POST", unknown + "/secrets", body)
    assert market.run(market.maker.get_order(offered.name)).cancel_requested_at is None
    nothing_written()


def test_fill__taken_twice__is_one_swap_and_refused_to_others(market: Market, foreigner: Foreigner) -> None:
    made = market.run(market.offer())
    path = f"/v1/orders/{made.name}/fills"
    first = market.run(market.take(made))
    assert market.run(market.take(made)).id == first.id
    foreign = market.strangers.resolver
    other = market.caller(market.run(market.log_in(foreign)))
    answer = other.raw(
        "POST", path, {"mode": "external", "taker": foreign.address}, headers={"Idempotency-Key": new_key()}
    )
    assert (answer.status_code, answer.json()["code"]) in ((409, "fill_taken"), (409, "order_not_open")), answer.text
    wrong = {"fill_index": 0, "secret": "0x" + secrets.token_hex(32)}
    market.caller(market.maker).refused(422, "secret_mismatch", "POST", f"/v1/orders/{made.name}/secrets", wrong)
    rows = market.deployment.rows("select count(*) as n from swaps where order_hash = %s", made.hash)
    assert rows[0]["n"] == 1
    assert market.run(market.settle(made, first.id)).state == "settled"
    foreigner.refused(foreigner.body(foreigner.order(source_amount=0)), 422, "order_amount_invalid")
