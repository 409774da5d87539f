"""Wallets of keys and quorums on a whole deployment: signed, approved over time, and out of reach of the app's secret."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from tests.journeys.support import ETHER, FIRST, STRANGER, App, allow, new_key, payment

from lockstep.client import AppCredentials, AuthorizationKey, Client, ProblemError


def test_quorum__owns_a_wallet__that_pays_with_its_signatures_only(app: App) -> None:
    alice, bob, bot = (AuthorizationKey.generate() for _ in range(3))
    with Client(app.url, AppCredentials(app.id, app.secret)) as client:
        keys = [client.create_authorization_key(key.public_key).id for key in (alice, bob, bot)]
        member = app.user("treasurer").call("GET", "/v1/caller")["user_id"]
        treasury = client.create_key_quorum(
            authorization_threshold=2, authorization_key_ids=keys[:2], user_ids=[member]
        )
        wallet = client.create_wallet(policy_ids=[app.policy([allow()])["id"]], owner_id=treasury.id)
        app.deployment.fund(FIRST, wallet.address, ETHER)
        both = client.signed_by(alice, bob)

        paid = both.send_transaction(wallet.id, FIRST, to=STRANGER, value=1)
        assert client.wait_transaction(paid).state == "final"

        pays = payment(STRANGER, 2)
        app.refused(401, "authorization_insufficient", "POST", f"/v1/wallets/{wallet.id}/rpc", pays, key=new_key())
        app.refused(401, "authorization_insufficient", "PATCH", f"/v1/wallets/{wallet.id}", {"owner_id": None})
        with pytest.raises(ProblemError, match="authorization_insufficient"):
            client.signed_by(alice, bot).send_transaction(wallet.id, FIRST, to=STRANGER, value=2)

        asked = client.create_approval("POST", f"/v1/wallets/{wallet.id}/rpc", pays)
        assert client.authorize_approval(asked.id, bob.sign(asked.payload)).status == "pending"
        done = app.user("treasurer").call("POST", f"/v1/approvals/{asked.id}/authorize", {})
        assert done["status"] == "executed"
        assert client.wait_transaction(done["response"]["data"]["transaction_id"]).state == "final"

        both.create_session_signer(
            wallet.id,
            expires_at=datetime.now(UTC) + timedelta(hours=1),
            allowed_methods=["eth_sendTransaction"],
            max_value_per_transaction=5,
            grantee="key",
            authorization_key_id=keys[2],
        )
        small = client.signed_by(bot).send_transaction(wallet.id, FIRST, to=STRANGER, value=5)
        assert client.wait_transaction(small).state == "final"
        with pytest.raises(ProblemError, match="session_value_denied"):
            client.signed_by(bot).send_transaction(wallet.id, FIRST, to=STRANGER, value=6)

    entries = app.call("GET", "/v1/audit/entries", params={"resource": f"wallet:{wallet.id}", "limit": "100"})["items"]
    allowed = [each["record"] for each in entries if each["record"]["action"] == "signature.allowed"]
    assert [len(record["authorized_by"]) for record in reversed(allowed)] == [2, 2, 1]
