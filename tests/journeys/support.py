"""A whole deployment for stories: started once, spoken to as its users do, looked at from outside.

The deployment runs in a thread with an event loop of its own, so that it goes on, and restarts what died, while a test
waits. Tests speak HTTP and the stream; they look into the database as its superuser and at the chains as anybody can.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psycopg
from psycopg.rows import dict_row
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from lockstep.app.devnet.anvil import Anvil
from lockstep.app.devnet.devnet import DATABASE, DevnetConfig
from lockstep.app.devnet.issuer import AUDIENCE
from lockstep.app.devnet.machine import free_port
from lockstep.app.roles import openapi_document
from lockstep.app.stack import Stack, StackConfig
from lockstep.chains.evm import Address, Contract

T = TypeVar("T")
ETHER = 10**18
GWEI = 10**9
FIRST, SECOND = "eip155:31337", "eip155:31338"
STRANGER = "0x00000000000000000000000000000000000000aa"
TERMINAL = {"final", "reverted_final", "cancelled", "expired", "dropped", "replaced_externally"}


def until(look: Callable[[], T | None], what: str, seconds: float = 30.0, pause: float = 0.05) -> T:
    """What `look` answers as soon as it is something true; fails with `what` when that takes too long."""
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds:.0f} seconds in vain for {what}")
        time.sleep(pause)


def new_key() -> str:
    """An idempotency key that nobody has used."""
    return secrets.token_hex(12)


# --- policies -------------------------------------------------------------------------------------------------------


def condition(name: str, operator: str, value: object, source: str = "ethereum_transaction") -> dict[str, Any]:
    return {"field_source": source, "field": name, "operator": operator, "value": value}


def allow(*conditions: dict[str, Any], method: str = "eth_sendTransaction") -> dict[str, Any]:
    """A rule that allows a method; without conditions all of it."""
    rule: dict[str, Any] = {"name": "allowed", "method": method, "action": "ALLOW", "conditions": list(conditions)}
    return rule if conditions else {**rule, "unconditional": True}


def pays(to: str, most: int) -> list[dict[str, Any]]:
    """At most so many wei at once, to one address."""
    return [allow(condition("to", "eq", to), condition("value", "lte", str(most)))]


def policy(rules: list[dict[str, Any]], name: str = "policy") -> dict[str, Any]:
    return {"version": "1.0", "name": name, "chain_type": "ethereum", "rules": rules}


def payment(to: str, value: int, *, chain: str = FIRST, data: str | None = None, **more: Any) -> dict[str, Any]:
    """Body of a request to send native coins, or a call."""
    transaction = {"to": to, "value": str(value)} | ({"data": data} if data is not None else {})
    return {"method": "eth_sendTransaction", "caip2": chain, "params": {"transaction": transaction}, **more}


# --- callers --------------------------------------------------------------------------------------------------------


class Refused(AssertionError):
    """An answer that a test did not expect to be a refusal."""

    def __init__(self, answer: httpx.Response) -> None:
        super().__init__(f"{answer.request.method} {answer.request.url}: {answer.status_code} {answer.text[:2000]}")
        self.answer = answer


@dataclass
class Caller:
    """Somebody who calls the API with credentials."""

    url: str
    headers: dict[str, str] = field(repr=False)

    def __post_init__(self) -> None:
        self.http = httpx.Client(base_url=self.url, headers=self.headers, timeout=30)

    def raw(self, method: str, path: str, body: object = None, **more: Any) -> httpx.Response:
        """The answer, whatever it is."""
        if body is not None:
            more["json"] = body
        return self.http.request(method, path, **more)

    def call(self, method: str, path: str, body: object = None, *, key: str | None = None, **more: Any) -> Any:
        """The body of an answer that must be a success."""
        headers = {"Idempotency-Key": key} if key else {}
        answer = self.raw(method, path, body, headers=headers, **more)
        if answer.is_error:
            raise Refused(answer)
        return answer.json() if answer.content else None

    def refused(
        self,
        status: int,
        code: str,
        method: str,
        path: str,
        body: object = None,
        *,
        key: str | None = None,
        **more: Any,
    ) -> dict[str, Any]:
        """The problem of an answer that must be this refusal."""
        headers = {"Idempotency-Key": key} if key else {}
        answer = self.raw(method, path, body, headers=headers, **more)
        return problem(answer, status, code)

    def rpc(self, wallet_id: str, body: dict[str, Any], key: str | None = None) -> Any:
        """Sign or send; returns `data` of the answer."""
        return self.call("POST", f"/v1/wallets/{wallet_id}/rpc", body, key=key or new_key())["data"]

    def is_believed(self, wallet_id: str) -> bool:
        """Whether what the wallet rests on is believed at the moment: its signatures may be refused for other reasons."""
        body = {"method": "personal_sign", "params": {"message": "still there?", "encoding": "utf-8"}}
        answer = self.raw("POST", f"/v1/wallets/{wallet_id}/rpc", body, headers={"Idempotency-Key": new_key()})
        return not answer.is_error or answer.json()["code"] != "authority_tampered"

    def preview(self, wallet_id: str, body: dict[str, Any]) -> Any:
        return self.call("POST", f"/v1/wallets/{wallet_id}/rpc/preview", body)

    def transaction(self, transaction_id: str) -> Any:
        return self.call("GET", f"/v1/transactions/{transaction_id}")

    def transactions(self, **query: str) -> list[Any]:
        found: list[Any] = self.call("GET", "/v1/transactions", params={"limit": "100", **query})["items"]
        return found

    def wait_transaction(self, transaction_id: str, *states: str, seconds: float = 40.0) -> Any:
        """The transaction once it is in one of these states, by default in one that ends it."""
        wanted = set(states) or TERMINAL

        def look() -> Any:
            with suppress(httpx.TransportError):
                answer = self.raw("GET", f"/v1/transactions/{transaction_id}")
                if answer.status_code == 200 and answer.json()["state"] in wanted:
                    return answer.json()
            return None

        return until(look, f"transaction {transaction_id} to be {' or '.join(sorted(wanted))}", seconds)


def problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The problem document of an answer, which must be whole, have this status and code, and be declared."""
    assert answer.headers["content-type"].startswith("application/problem+json"), answer.text[:2000]
    document: dict[str, Any] = answer.json()
    assert (answer.status_code, document["code"]) == (status, code), answer.text[:2000]
    assert code in declared_codes(answer.request.method, answer.request.url.path, status), answer.request.url.path
    assert {"type", "title", "status", "detail", "code", "instance", "request_id"} <= document.keys()
    assert document["status"] == status
    return document


@cache
def _routes() -> list[tuple[re.Pattern[str], dict[str, Any]]]:
    """The operations of each path of the schema."""
    paths: dict[str, dict[str, Any]] = openapi_document()["paths"]
    return [(re.compile(re.sub(r"\{\w+\}", "[^/]+", path)), operations) for path, operations in paths.items()]


def declared_codes(method: str, path: str, status: int) -> set[str]:
    """The codes of problems that the schema declares for such an answer; for what is no route, that of saying so."""
    operations = next((operations for pattern, operations in _routes() if pattern.fullmatch(path)), None)
    if operations is None:
        return {"route_not_found"}
    if method.lower() not in operations:
        return {"method_not_allowed"}
    content = operations[method.lower()]["responses"].get(str(status), {}).get("content", {})
    document = content.get("application/problem+json")
    return set(document["schema"]["properties"]["code"]["examples"]) if document else set()


class App(Caller):
    """An app with its own credentials, and users of the devnet's issuer."""

    def __init__(self, deployment: Deployment, app_id: str, secret: str) -> None:
        super().__init__(deployment.url, {"X-App-Id": app_id, "X-App-Secret": secret})
        self.deployment, self.id, self.secret = deployment, app_id, secret

    def at(self, url: str) -> Caller:
        """The same caller at another `serve` process."""
        return Caller(url, self.headers)

    def user(self, subject: str) -> Caller:
        """A user, by a token of the issuer."""
        token = self.deployment.stack.devnet.issuer.issue_token(subject)
        return Caller(self.url, {**self.headers, "Authorization": f"Bearer {token}"})

    def session(self, token: str) -> Caller:
        """Who holds the token of a session signer."""
        return Caller(self.url, {"Authorization": f"Bearer {token}"})

    def policy(self, rules: list[dict[str, Any]], name: str = "policy") -> Any:
        return self.call("POST", "/v1/policies", policy(rules, name))

    def wallet(self, rules: list[dict[str, Any]] | None = None, *, ether: int = 0, chain: str = FIRST) -> Any:
        """A wallet with a policy of its own, and so many whole native coins."""
        made = self.policy(rules if rules is not None else [allow()])
        wallet = self.call("POST", "/v1/wallets", {"policy_ids": [made["id"]]})
        if ether:
            self.deployment.fund(chain, wallet["address"], ether * ETHER)
        return wallet

    def grant(self, wallet_id: str, *, seconds: float = 3600, methods: Sequence[str] = (), **terms: Any) -> Any:
        """A session signer of a wallet: {"session_signer", "token"}."""
        body = {
            "expires_at": (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat(),
            "allowed_methods": list(methods) or ["eth_sendTransaction"],
            **terms,
        }
        return self.call("POST", f"/v1/wallets/{wallet_id}/session-signers", body)


# --- the deployment -------------------------------------------------------------------------------------------------


class Deployment:
    """Devnet, signer, API and workers as processes, in one folder."""

    def __init__(
        self, folder: Path, *, workers: int = 1, environment: Mapping[str, str] | None = None, restarts: bool = True
    ) -> None:
        # Not the usual port: a deployment that starts at the same moment would choose the same.
        config = StackConfig(
            devnet=DevnetConfig(folder=folder, http_port=free_port()),
            workers=workers,
            environment=dict(environment or {}),
            restarts=restarts,
        )
        self.stack = Stack(config)
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="deployment", daemon=True)

    def start(self) -> Deployment:
        self._thread.start()
        self.run(self.stack.start(), 120)
        return self

    def stop(self) -> None:
        """Stop everything; nothing is left running."""
        self.run(self.stack.stop(), 90)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)

    def run(self, work: Coroutine[Any, Any, T], seconds: float = 60.0) -> T:
        """Do something in the deployment's loop and wait for it."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(seconds)

    @property
    def url(self) -> str:
        return self.stack.url

    @property
    def folder(self) -> Path:
        return self.stack.devnet.folder

    @property
    def admin(self) -> Caller:
        return Caller(self.url, {"Authorization": f"Bearer {self.stack.admin_credential}"})

    @property
    def anybody(self) -> Caller:
        """A caller without credentials."""
        return Caller(self.url, {})

    def new_app(self, name: str = "Journey") -> App:
        """An app whose users come from the devnet's issuer."""
        issuer = self.stack.devnet.issuer
        known = {"issuer": issuer.issuer, "audience": AUDIENCE, "jwks": issuer.key_set()}
        made = self.admin.call("POST", "/v1/apps", {"name": name, "issuers": [known]})
        return App(self, made["app"]["id"], made["secret"])

    # --- chains -----------------------------------------------------------------------------------------------------

    def chain(self, chain: str = FIRST) -> Anvil:
        return self.stack.devnet.chain(chain)

    def ask(self, method: str, *params: Any, chain: str = FIRST) -> Any:
        """One request to a node."""
        return self.run(self.chain(chain).call(method, *params))

    def mine(self, blocks: int = 1, chain: str = FIRST) -> None:
        """Blocks now, not when their time has come."""
        for _ in range(blocks):
            self.ask("evm_mine", chain=chain)

    def fund(self, chain: str, address: str, wei: int) -> None:
        self.run(self.stack.devnet.fund(chain, Address(address), wei))

    def mint(self, chain: str, address: str, amount: int) -> None:
        self.run(self.stack.devnet.mint(chain, Address(address), amount))

    def token(self, chain: str = FIRST) -> Address:
        return self.stack.devnet.deployment(chain).token.address

    def place_doom(self, chain: str = FIRST) -> str:
        """A contract that refuses every call that pays for its gas, so that no simulation foresees it; its address."""
        place = "0x" + "d0" * 20
        self.ask("anvil_setCode", place, "0x3a15600957600080fd5b00", chain=chain)
        return place

    def balance(self, address: str, chain: str = FIRST) -> int:
        return int(self.ask("eth_getBalance", address, "latest", chain=chain), 16)

    def nonce(self, address: str, chain: str = FIRST) -> int:
        return int(self.ask("eth_getTransactionCount", address, "latest", chain=chain), 16)

    def token_balance(self, address: str, chain: str = FIRST, token: str | None = None) -> int:
        data = "0x" + Contract.load("DemoToken").encode("balanceOf", [address]).hex()
        answer = self.ask("eth_call", {"to": token or self.token(chain), "data": data}, "latest", chain=chain)
        return int(answer, 16)

    # --- from inside ------------------------------------------------------------------------------------------------

    @contextmanager
    def database(self) -> Iterator[psycopg.Connection[dict[str, Any]]]:
        """The database as its superuser sees it: to look at, and to tamper with, what nobody else may."""
        address = self.stack.devnet.postgres.url(DATABASE)
        with psycopg.connect(address, autocommit=True, row_factory=dict_row) as connection:
            yield connection

    def rows(self, query: str, *params: object) -> list[dict[str, Any]]:
        with self.database() as connection:
            return connection.execute(query, params).fetchall()  # type: ignore[arg-type]  # queries of tests are literals

    def counts(self) -> dict[str, int]:
        """Rows of every table of ours."""
        tables = self.rows(
            "select schemaname || '.' || tablename as name from pg_tables where schemaname in ('public', 'signer')"
            " and tablename not like 'procrastinate%%' order by 1"
        )
        query = " union all ".join(f"select '{t['name']}' as name, count(*) as n from {t['name']}" for t in tables)
        return {row["name"]: row["n"] for row in self.rows(query)}

    def command(self, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        """The real command line, under the settings of the service and others that are given."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("LOCKSTEP_")}
        environment = {**kept, **self.stack.devnet.environment("service"), **settings}
        return subprocess.run(
            [sys.executable, "-m", "lockstep.app.cli", *arguments],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def logs(self) -> str:
        """Everything that any role or part has logged."""
        files = [*self.folder.glob("logs/*.log"), *self.folder.glob("**/*.log")]
        return "\n".join(file.read_text(errors="replace") for file in dict.fromkeys(files))

    def ready(self, url: str | None = None) -> tuple[int, dict[str, Any]]:
        """Status and parts of `/health/ready`; (0, {}) when nobody answers."""
        try:
            answer = httpx.get(f"{url or self.url}/health/ready", timeout=5)
        except httpx.TransportError:
            return 0, {}
        return answer.status_code, answer.json()["parts"]

    def wait_ready(self, seconds: float = 30.0, url: str | None = None) -> None:
        until(lambda: self.ready(url)[0] == 200, "the API to be ready", seconds)

    def second_serve(self, name: str = "serve-2", *, is_ready: bool = True, **settings: str) -> str:
        """Another API process over the same database, with other settings where they are given; returns its address."""
        port = free_port()
        variables = {"LOCKSTEP_HTTP__PORT": str(port), **settings}

        async def start() -> None:
            self.stack.start_role(name, "serve", variables)

        self.run(start())
        url = f"http://127.0.0.1:{port}"
        if is_ready:
            self.wait_ready(url=url)
        return url


# --- the stream -----------------------------------------------------------------------------------------------------


class Listener:
    """A client of the stream that keeps every frame. Use as a context."""

    def __init__(self, caller: Caller, *subscriptions: dict[str, Any], url: str | None = None) -> None:
        self.frames: list[dict[str, Any]] = []
        self.ended: ConnectionClosed | None = None
        self._subscriptions = subscriptions
        address = (url or caller.url).replace("http", "ws", 1) + "/v1/stream"
        self._open = ExitStack()
        self.socket: ClientConnection = self._open.enter_context(
            connect(address, additional_headers=caller.headers, compression=None)
        )
        self._thread = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> Listener:
        for number, each in enumerate(self._subscriptions):
            self.socket.send(json.dumps({"op": "subscribe", "id": f"s{number}", **each}))
        self._thread.start()
        for number in range(len(self._subscriptions)):
            self.wait(lambda f, n=number: f["type"] == "subscribed" and f["sub"] == f"s{n}", "the subscription")
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()
        self._thread.join(5)

    def _read(self) -> None:
        try:
            while True:
                self.frames.append(json.loads(self.socket.recv()))
        except ConnectionClosed as end:
            self.ended = end

    def wait(self, wanted: Callable[[dict[str, Any]], bool], what: str, seconds: float = 30.0) -> dict[str, Any]:
        """The first frame of this kind, also one that came before."""

        def look() -> dict[str, Any] | None:
            return next((frame for frame in list(self.frames) if wanted(frame)), None)

        return until(look, f"{what} on the stream", seconds, pause=0.02)

    def events(self, object_id: str | None = None) -> list[dict[str, Any]]:
        """The numbered events so far, of one object or all."""
        return [f for f in list(self.frames) if "seq" in f and "topic" in f and object_id in (None, f["id"])]
