"""What must stay secret is nowhere: not in a dump of the database, not in logs, on the stream or in other answers."""

from __future__ import annotations

import json
import os
import subprocess
from base64 import b64encode, urlsafe_b64encode
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.journeys.support import App, Caller, Deployment, Listener, allow, new_key, payment, policy

from lockstep.app.devnet.devnet import DATABASE
from lockstep.app.devnet.programs import installed_programs


def forms(secret: str | bytes) -> dict[str, bytes]:
    """A secret as it could have been written somewhere."""
    raw = secret if isinstance(secret, bytes) else secret.encode()
    return {
        "as it is": raw,
        "hex": raw.hex().encode(),
        "base64": b64encode(raw).rstrip(b"="),
        "base64url": urlsafe_b64encode(raw).rstrip(b"="),
        "in a URL": quote(raw).encode(),
    }


def dump(deployment: Deployment) -> bytes:
    """The whole database as text: every table, jobs and audit log included."""
    programs = installed_programs().folder
    libraries = ":".join(str(path) for path in (programs / "lib", *programs.parent.glob("*.libs")))
    done = subprocess.run(
        [programs / "bin" / "pg_dump", "--inserts", deployment.stack.devnet.postgres.url(DATABASE)],
        capture_output=True,
        env={**os.environ, "LD_LIBRARY_PATH": libraries},
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def places(deployment: Deployment, listener: Listener, answers: list[Any]) -> dict[str, bytes]:
    """Everything that could have kept a secret."""
    found = {
        "database": dump(deployment),
        "logs": deployment.logs().encode(),
        "stream": json.dumps(listener.frames).encode(),
        "answers": json.dumps(answers).encode(),
        "metrics": deployment.anybody.raw("GET", "/metrics").content,
    }
    checkpoints = deployment.folder / "audit" / "checkpoints.jsonl"
    return {**found, "checkpoints": checkpoints.read_bytes() if checkpoints.exists() else b""}


def read_everything(app: App, wallet_id: str) -> list[Any]:
    """The answers of every route that shows something of an app."""
    paths = ["/v1/app", "/v1/app/secrets", "/v1/caller", "/v1/wallets", "/v1/policies", "/v1/transactions"]
    paths += ["/v1/audit/entries", f"/v1/wallets/{wallet_id}", f"/v1/wallets/{wallet_id}/session-signers"]
    answers = [app.call("GET", path) for path in paths]
    return [*answers, *(app.transaction(each["id"]) for each in app.transactions())]


def test_secrets__of_apps_users_sessions_and_keys__are_nowhere(deployment: Deployment, app: App) -> None:
    token = deployment.stack.devnet.issuer.issue_token("dave")
    user = Caller(app.url, {**app.headers, "Authorization": f"Bearer {token}"})
    with Listener(app, {"topic": "transactions"}, {"topic": "wallets"}) as listener:
        everything = {**allow(method="*"), "method": "*"}
        wallet = app.wallet([everything], ether=1)
        granted = app.grant(wallet["id"])
        bot = app.session(granted["token"])
        guard = user.call("POST", "/v1/policies", policy([everything]))
        own = user.call("POST", "/v1/wallets", {"policy_ids": [guard["id"]]}, key=new_key())
        signed = user.rpc(own["id"], {"method": "personal_sign", "params": {"message": "a private letter"}})
        another = app.call("POST", "/v1/app/secrets", {})
        bot.wait_transaction(bot.rpc(wallet["id"], payment(wallet["address"], 1))["transaction_id"])
        bot.raw("GET", f"/v1/wallets?cursor={granted['token']}")
        deployment.anybody.raw("GET", "/v1/wallets", headers={"X-App-Id": app.id, "X-App-Secret": app.secret + "x"})
        deployment.anybody.raw("POST", f"/v1/wallets/{app.secret}/rpc", {"secret": app.secret})
        found = places(deployment, listener, read_everything(app, wallet["id"]))

    keys = deployment.stack.devnet.keys
    secrets: dict[str, str | bytes] = {
        "app secret": app.secret,
        "second app secret": another["secret"],
        "session token": granted["token"],
        "user token": token,
        "administrator's credential": deployment.stack.admin_credential,
        "signed message": "a private letter",
        **{
            f"key {path.name}": bytes.fromhex(path.read_text().strip())
            for path in (keys.auth_shares, keys.authorization, keys.audit, keys.exec_shares, keys.transport_seed)
        },
    }
    assert signed["signature"]
    assert len(found["database"]) > 100_000
    assert wallet["id"].encode() in found["database"]
    leaks = [
        (name, where, form)
        for name, secret in secrets.items()
        for form, written in forms(secret).items()
        for where, text in found.items()
        if written in text
    ]
    assert leaks == []


def test_secrets__idempotent_answers_with_signatures__are_kept_sealed(deployment: Deployment, app: App) -> None:
    wallet = app.wallet([allow(method="personal_sign")])

    signature = app.rpc(wallet["id"], {"method": "personal_sign", "params": {"message": "sealed?"}})["signature"]

    text = dump(deployment)
    assert bytes.fromhex(signature[2:]).hex().encode() not in text
    assert b"sealed?" not in text


def test_key_files__are_readable_by_their_user_only(deployment: Deployment) -> None:
    folder = Path(deployment.stack.devnet.keys.folder)
    files = [path for path in folder.rglob("*") if path.is_file()]

    assert len(files) >= 8
    assert {path.name: oct(path.stat().st_mode & 0o777) for path in files if path.stat().st_mode & 0o077} == {}
