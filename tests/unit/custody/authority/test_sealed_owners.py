"""Keys and quorums edited past the service authorise nothing, neither a signature nor a change."""

from __future__ import annotations

import pytest
from tests.support.attacker import Attacker
from tests.support.custody import World, message
from tests.support.keys import Key
from tests.unit.custody.authority.conftest import Caller

from lockstep.kit.ids import new_id

A, B, EVIL = Key(1), Key(2), Key(3)


@pytest.mark.parametrize(
    "edit",
    [
        "update key_quorums set threshold = 1",
        "update authorization_keys set public_key = %(evil)s where id = %(a)s",
        "update authorization_keys set revision = revision + 1",
        "delete from key_quorum_members where key_id = %(b)s",
        "update wallets set owner_quorum_id = null, owner_key_id = %(a)s",
        "update wallets set owner_quorum_id = null",
        "delete from seals where kind in ('key_quorum', 'authorization_key')",
    ],
)
async def test_owner__edited__authorises_nothing(world: World, app: Caller, attacker: Attacker, edit: str) -> None:
    first, second = await app.register(A), await app.register(B)
    body = {"authorization_threshold": 2, "authorization_key_ids": [first, second]}
    quorum = (await app.done("POST", "/key-quorums", body))["id"]
    wallet = await app.wallet(owner_id=quorum)
    await attacker.execute(edit, {"evil": EVIL.spki, "a": first, "b": second})

    signers = app.signed(A, B, EVIL)
    path = f"/wallets/{wallet['id']}"
    for method, at, sent in (("POST", f"{path}/rpc", message()), ("PATCH", path, {"display_name": "mine"})):
        answer = await signers.call(method, at, sent, new_id())
        assert answer.json()["code"] in ("authority_tampered", "authorization_insufficient"), answer.text
    assert world.executor.signed == []


async def test_key__revoked_and_made_active__authorises_nothing(world: World, app: Caller, attacker: Attacker) -> None:
    first, second = await app.register(A), await app.register(B)
    body = {"authorization_threshold": 1, "authorization_key_ids": [first, second]}
    wallet = await app.wallet(owner_id=(await app.done("POST", "/key-quorums", body))["id"])
    await app.signed(A).done("POST", f"/authorization-keys/{first}/revoke", {})
    await attacker.execute("update authorization_keys set status = 'active', revoked_at = null", {})

    problem = await app.signed(A).refused(
        500, "authority_tampered", "POST", f"/wallets/{wallet['id']}/rpc", message(), new_id()
    )

    assert first in problem["detail"]
    assert world.executor.signed == []
