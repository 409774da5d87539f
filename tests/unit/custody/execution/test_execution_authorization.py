"""Execution authorizations: good once, for one thing, on one signer, for less than a minute."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockstep.chains.evm import Address
from lockstep.custody.execution import (
    AuthorizationExpired,
    AuthorizationIssuer,
    AuthorizationKey,
    SignerBusy,
    SignerIdentity,
    SignerRestarted,
    SigningRefused,
    WalletKey,
)
from lockstep.custody.execution.authorization import AuthorizationVerifier, Op, decode_authorization
from lockstep.kit.clock import ManualClock
from lockstep.kit.ids import AppId, WalletId

SHARED = AuthorizationKey(bytes(range(32)))
SIGNER = SignerIdentity("signer", b"e" * 16)
WALLET = WalletKey(app_id=AppId("app"), wallet_id=WalletId("wallet"), address=Address("0x" + "11" * 20))
DIGEST = b"d" * 32


class Sides:
    """Policy side and signer on one clock."""

    def __init__(self, **limits: int) -> None:
        self.clock = ManualClock(datetime(2026, 1, 1, tzinfo=UTC))
        self.issuer = AuthorizationIssuer(SHARED, self.clock)
        self.verifier = AuthorizationVerifier(SHARED, SIGNER, self.clock, **limits)

    def issue(self, lifetime: timedelta = timedelta(seconds=30), signer: SignerIdentity = SIGNER) -> bytes:
        return self.issuer.issue(
            signer,
            op="evm_transaction",
            key=WALLET,
            payload_digest=DIGEST,
            policy_revision="7",
            decision_id="decision",
            lifetime=lifetime,
        )

    def consume(
        self, grant: bytes, op: Op = "evm_transaction", key: WalletKey = WALLET, digest: bytes = DIGEST
    ) -> None:
        self.verifier.consume(grant, op=op, key=key, payload_digest=digest)


def test_authorization__used_once__is_taken_and_says_what_it_was_for() -> None:
    sides = Sides()
    taken = sides.verifier.consume(sides.issue(), op="evm_transaction", key=WALLET, payload_digest=DIGEST)
    assert (taken.policy_revision, taken.decision_id) == ("7", "decision")


def test_authorization__used_twice__is_refused() -> None:
    sides = Sides()
    grant = sides.issue()
    sides.consume(grant)
    with pytest.raises(SigningRefused, match="before"):
        sides.consume(grant)


def test_authorization__expired__must_be_given_again() -> None:
    sides = Sides()
    grant = sides.issue()
    sides.clock.advance(timedelta(seconds=30))
    with pytest.raises(AuthorizationExpired):
        sides.consume(grant)


def test_authorization__replayed_after_the_clock_went_back__is_refused() -> None:
    sides = Sides()
    grant = sides.issue()
    sides.consume(grant)
    sides.clock.advance(timedelta(minutes=5))
    sides.consume(sides.issue())
    sides.clock.advance(timedelta(minutes=-5))
    with pytest.raises(AuthorizationExpired):
        sides.consume(grant)


def test_authorization__for_another_wallet_op_or_digest__is_refused_and_stays_unused() -> None:
    sides = Sides()
    grant = sides.issue()
    for change in ({"app_id": "other"}, {"wallet_id": "other"}, {"address": "0x" + "22" * 20}):
        with pytest.raises(SigningRefused, match="another wallet"):
            sides.consume(grant, key=dataclasses.replace(WALLET, **change))
    with pytest.raises(SigningRefused, match="evm_transaction"):
        sides.consume(grant, op="typed_data")
    with pytest.raises(SigningRefused, match="another payload"):
        sides.consume(grant, digest=b"x" * 32)
    sides.consume(grant)


@pytest.mark.parametrize("signer", [SignerIdentity("signer", b"f" * 16), SignerIdentity("other", b"e" * 16)])
def test_authorization__for_another_boot_or_signer__must_be_given_again(signer: SignerIdentity) -> None:
    sides = Sides()
    with pytest.raises(SignerRestarted):
        sides.consume(sides.issue(signer=signer))


def test_authorization__made_with_another_key__is_refused() -> None:
    sides = Sides()
    forged = AuthorizationIssuer(AuthorizationKey(bytes(32)), sides.clock).issue(
        SIGNER, op="evm_transaction", key=WALLET, payload_digest=DIGEST, policy_revision="7", decision_id="decision"
    )
    with pytest.raises(SigningRefused, match="forged"):
        sides.consume(forged)


def test_authorization__every_bit_flipped_or_cut__is_refused() -> None:
    sides = Sides()
    grant = sides.issue()
    for position in range(len(grant) * 8):
        edited = bytearray(grant)
        edited[position // 8] ^= 1 << position % 8
        with pytest.raises(SigningRefused):
            sides.consume(bytes(edited))
    for length in range(len(grant)):
        with pytest.raises(SigningRefused):
            sides.consume(grant[:length])
    with pytest.raises(SigningRefused):
        sides.consume(grant + b"\x00")


@given(st.binary(max_size=300))
def test_authorization__garbage_even_with_a_right_mac__is_refused(body: bytes) -> None:
    with pytest.raises(SigningRefused):
        decode_authorization(body, SHARED)
    with pytest.raises(SigningRefused):
        decode_authorization(body + SHARED.mac(body), SHARED)


@pytest.mark.parametrize("lifetime", [timedelta(0), timedelta(seconds=-1), timedelta(seconds=60, milliseconds=1)])
def test_issue__lifetime_out_of_range__is_refused(lifetime: timedelta) -> None:
    with pytest.raises(ValueError, match="60000 ms"):
        Sides().issue(lifetime)


def test_authorization__issued_on_a_clock_ahead__is_refused() -> None:
    sides = Sides()
    sides.clock.advance(timedelta(minutes=2))
    grant = sides.issue()
    sides.clock.advance(timedelta(minutes=-2))
    with pytest.raises(SigningRefused, match="longer than"):
        sides.consume(grant)


def test_verifier__too_many_remembered__is_busy_until_they_expire() -> None:
    sides = Sides(max_remembered=2)
    for _ in range(2):
        sides.consume(sides.issue())
    with pytest.raises(SignerBusy):
        sides.consume(sides.issue())
    sides.clock.advance(timedelta(seconds=60))
    sides.consume(sides.issue())


def test_proof__of_one_side__is_not_the_proof_of_the_other() -> None:
    assert SHARED.prove("client", b"t") != SHARED.prove("signer", b"t")
    assert SHARED.prove("client", b"t") != AuthorizationKey(bytes(32)).prove("client", b"t")
