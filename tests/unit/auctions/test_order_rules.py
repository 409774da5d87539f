"""Orders against the vectors that the contracts computed: hash, price, immutables; and every refusal of an order."""

import json
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from lockstep.auctions import codec, errors, rules, schemas
from lockstep.auctions.types import BUMP_ONE, Order, OrderState, PriceCurve, PricePoint, SignedOrder, Validity
from lockstep.chains.evm import Address, recover_address
from lockstep.kit.errors import Refuse
from lockstep.settlement import Immutables, TimeLocks, clone_address

VECTORS = json.loads((Path(__file__).parents[3] / "contracts/evm/vectors/order.json").read_text())
FACTORY = Address(VECTORS["verifyingContract"].lower())
CHAIN = "eip155:31337"
NOW = 1_700_000_000


def order_of(vector: dict[str, Any]) -> Order:
    return schemas.OrderIn.model_validate(vector["order"]).to_order(CHAIN, FACTORY)


@pytest.mark.parametrize("vector", VECTORS["vectors"], ids=lambda vector: vector["name"])
def test_order__vector__has_the_digest_of_the_contract(vector: dict[str, Any]) -> None:
    order = order_of(vector)
    assert "0x" + codec.order_digest(order).hex() == vector["digest"]
    signer = recover_address(bytes.fromhex(vector["digest"][2:]), bytes.fromhex(vector["signature"][2:]))
    assert signer == order.maker


@pytest.mark.parametrize("vector", VECTORS["vectors"], ids=lambda vector: vector["name"])
def test_price__vector__equals_the_contract_to_the_unit(vector: dict[str, Any]) -> None:
    curve = order_of(vector).price
    for price in vector["prices"]:
        assert rules.destination_amount(curve, price["time"]) == int(price["destinationAmount"])


@pytest.mark.parametrize("vector", VECTORS["vectors"], ids=lambda vector: vector["name"])
def test_source_escrow__vector__has_the_address_of_the_contract(vector: dict[str, Any]) -> None:
    order, escrow = order_of(vector), vector["sourceEscrow"]
    immutables = Immutables(
        order_hash=bytes.fromhex(vector["digest"][2:]),
        hashlock=order.hashlock,
        maker=bytes.fromhex(order.maker[2:]),
        taker=bytes.fromhex(escrow["taker"][2:]),
        token=bytes.fromhex(order.source_token[2:]),
        amount=order.source_amount,
        safety_deposit=int(escrow.get("safetyDeposit", order.source_deposit)),
        time_locks=order.time_locks.pack(escrow["deployedAt"]),
    )
    assert f"0x{immutables.time_locks:064x}" == escrow["timelocks"]
    assert "0x" + immutables.hash().hex() == escrow["immutablesHash"]
    address = clone_address(bytes.fromhex(FACTORY[2:]), bytes.fromhex(escrow["implementation"][2:]), immutables.hash())
    assert "0x" + address.hex() == escrow["address"].lower()


def test_price__worked_example__gives_the_published_bumps() -> None:
    curve = PriceCurve(
        start_time=NOW,
        duration=300,
        end_amount=1_000_000_000,
        initial_rate_bump=400_000,
        points=(PricePoint(rate_bump=250_000, delay=60), PricePoint(rate_bump=100_000, delay=90)),
    )
    bumps = {0: 400000, 30: 325000, 60: 250000, 100: 183333, 150: 100000, 200: 66666, 299: 666, 300: 0}
    assert {at: rules.rate_bump(curve, NOW + at) for at in bumps} == bumps


curves = st.builds(
    lambda start, duration, end, bumps, delays: PriceCurve(
        start_time=start,
        duration=duration,
        end_amount=end,
        initial_rate_bump=max(bumps),
        points=tuple(
            PricePoint(rate_bump=bump, delay=delay)
            for bump, delay in zip(sorted(bumps, reverse=True)[1:], delays, strict=False)
        )
        if sum(delays) <= duration
        else (),
    ),
    st.integers(0, 2**40),
    st.integers(1, 10_000),
    st.integers(1, 10**30),
    st.lists(st.integers(0, rules.MOST_BUMP), min_size=1, max_size=5),
    st.lists(st.integers(0, 500), max_size=5),
)


@given(curves, st.integers(-10, 11_000), st.integers(0, 500))
def test_price__later__is_never_higher_and_never_below_the_end(curve: PriceCurve, after: int, more: int) -> None:
    early = rules.destination_amount(curve, curve.start_time + after)
    late = rules.destination_amount(curve, curve.start_time + after + more)
    highest = -(-curve.end_amount * (BUMP_ONE + curve.initial_rate_bump) // BUMP_ONE)
    assert curve.end_amount <= late <= early <= highest


# --- validation -------------------------------------------------------------------------------------------------------

OTHER = "eip155:31338"
OTHER_FACTORY = Address("0x2e234dae75c793f67a35089c9d99245e1c58470b")
BOOK = rules.BookRules(factories={CHAIN: FACTORY, OTHER: OTHER_FACTORY}, minimum_deposits={OTHER: 5})


def document(**changes: object) -> dict[str, Any]:
    base: dict[str, Any] = json.loads(json.dumps(VECTORS["vectors"][0]["order"]))
    for path, value in changes.items():
        place = base
        *way, last = path.split("__")
        for step in way:
            place = place[step]
        place[last] = value
    return base


def test_order__vector__is_accepted() -> None:
    rules.check_order(schemas.OrderIn.model_validate(document()).to_order(CHAIN, FACTORY), BOOK, NOW)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"sourceAmount": "0"}, errors.OrderAmountInvalid),
        ({"price__endAmount": "0"}, errors.OrderAmountInvalid),
        ({"price__endAmount": str(2**255)}, errors.OrderAmountInvalid),
        ({"sourceAmount": str(2**256 - 1)}, errors.OrderAmountInvalid),
        ({"deposits__source": str(10**30)}, errors.OrderAmountInvalid),
        ({"deposits__destination": "4"}, errors.DepositTooLow),
        ({"price__duration": 0}, errors.PriceCurveInvalid),
        ({"price__duration": 2**32 - 1}, errors.PriceCurveInvalid),
        ({"price__initialRateBump": 2**32 - 1}, errors.PriceCurveInvalid),
        ({"price__points": [{"rateBump": 400001, "delay": 1}]}, errors.PriceCurveInvalid),
        ({"price__points": [{"rateBump": 1, "delay": 301}]}, errors.PriceCurveInvalid),
        ({"price__points": [{"rateBump": 1, "delay": 1}] * 33}, errors.PriceCurveInvalid),
        ({"expiry": NOW}, errors.OrderTimesInvalid),
        ({"expiry": NOW, "price__startTime": NOW - 1}, errors.OrderExpired),
        ({"expiry": 2**64 - 1}, errors.OrderTimesInvalid),
        ({"timeLocks__destinationCancellation": 2**32 - 1}, errors.OrderTimesInvalid),
        ({"hashlockInfo": "0x" + "00" * 32}, errors.HashlockInvalid),
        ({"extensionHash": "0x" + "00" * 31 + "01"}, errors.ExtensionUnsupported),
        ({"destination__factory": "0x" + "11" * 20}, errors.FactoryUnknown),
        ({"destination__chain": "eip155:1"}, errors.FactoryUnknown),
        ({"destination__chain": CHAIN, "destination__factory": FACTORY}, errors.DestinationInvalid),
        ({"destination__receiver": "0x" + "00" * 20}, errors.DestinationInvalid),
        ({"destination__receiver": "0x" + "11" * 32}, errors.DestinationInvalid),
        ({"destination__token": "0x11"}, errors.DestinationInvalid),
        ({"maker": "0x" + "00" * 20}, errors.MakerInvalid),
        ({"allowedTakers": ["0x" + "11" * 20] * 2}, errors.AllowedTakersInvalid),
        ({"allowedTakers": ["0x" + "00" * 20]}, errors.AllowedTakersInvalid),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else value.code,
)
def test_order__fault__is_refused_by_its_own_code(changes: dict[str, object], error: type[Refuse]) -> None:
    order = schemas.OrderIn.model_validate(document(**changes)).to_order(CHAIN, FACTORY)
    with pytest.raises(error):
        rules.check_order(order, BOOK, NOW)


def test_order__another_factory__is_refused() -> None:
    order = schemas.OrderIn.model_validate(document()).to_order(CHAIN, "0x" + "11" * 20)
    with pytest.raises(errors.FactoryUnknown):
        rules.check_order(order, BOOK, NOW)


@pytest.mark.parametrize(
    "changes",
    [
        {"sourceAmount": 1},
        {"sourceAmount": "9" * 300},
        {"sourceAmount": "-1"},
        {"sourceAmount": "01"},
        {"expiry": -1},
        {"expiry": "1"},
        {"expiry": True},
        {"expiry": 1.0},
        {"price__duration": 2**32},
        {"maker": "0x12"},
        {"maker": "0xe05fcC23807536bEe418f142D19fa0d21BB0cff7"},
        {"hashlockInfo": "0x00"},
        {"surprise": 1},
        {"price__surprise": 1},
        {"destination__token": "0x1"},
        {"nonce": None},
    ],
    ids=lambda value: next(iter(value)),
)
def test_order__not_of_the_shape__is_refused_by_the_schema(changes: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        schemas.OrderIn.model_validate_json(json.dumps(document(**changes)))


def test_order__document_written_and_read__is_the_same_order() -> None:
    shape = schemas.OrderIn.model_validate(document())
    again = schemas.OrderIn.model_validate(shape.model_dump(mode="json"))
    assert again.to_order(CHAIN, FACTORY) == shape.to_order(CHAIN, FACTORY)
    assert shape.model_dump(mode="json")["price"]["endAmount"] == "3"


def test_order__states_on_the_wire__are_those_of_the_book() -> None:
    assert set(get_args(schemas.OrderStateText)) == set(OrderState)
    assert set(get_args(schemas.ValidityText)) == set(Validity)


def test_calldata__create_source__decodes_to_the_order() -> None:
    order = order_of(VECTORS["vectors"][1])
    signed = SignedOrder(order=order, hash=b"", signature=b"\x01" * 65, signature_kind="eip712")
    call = codec.factory().decode_call(codec.create_source_call(signed))
    assert call is not None
    assert call.args["order"]["timeLocks"]["destinationCancellation"] == order.time_locks.destination_cancellation
    assert call.args["order"]["maker"] == order.maker
    assert isinstance(order.time_locks, TimeLocks)
