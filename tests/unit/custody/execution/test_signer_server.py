"""The socket: who may speak, what happens to those who speak badly, slowly or too much, and that others do not notice."""

from __future__ import annotations

import asyncio
import secrets
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from signing_side import Signing, payment

from lockstep.chains.evm import recover_address
from lockstep.custody.execution import (
    AuthorizationKey,
    AuthShares,
    CardanoMessagePayload,
    DeadlinePassed,
    LocalKms,
    NewKey,
    PayloadRefused,
    PersonalMessagePayload,
    SameKeyForBothShares,
    SealBroken,
    Signature,
    SignerClient,
    SignerClientConfig,
    SignerNotTrusted,
    SignerRestarted,
    SignerUnavailable,
    SigningRefused,
    WalletKey,
    WalletKeyExists,
    is_signed_by,
    protocol,
    verify_transport,
)
from lockstep.custody.execution.core import SigningCore
from lockstep.custody.execution.protocol import FAULT, FrameReader, Operation, encode_frame
from lockstep.custody.execution.server import MAX_QUEUED, SignerServer
from lockstep.custody.execution.store import ExecShareRow, MemoryShareStore
from lockstep.kit.clock import SystemClock
from lockstep.kit.ids import AppId, WalletId, new_id

EXEC_KEY = secrets.token_bytes(32)


class HeldStore(MemoryShareStore):
    """A database that answers when it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.open = asyncio.Event()
        self.open.set()
        self.reads = self.writes = 0

    async def add_many(self, rows: Sequence[ExecShareRow]) -> set[WalletId]:
        self.writes += 1
        await asyncio.sleep(0.01)
        return await super().add_many(rows)

    async def find_many(self, wallet_ids: list[WalletId]) -> list[ExecShareRow]:  # type: ignore[override]  # narrower
        self.reads += 1
        await self.open.wait()
        return await super().find_many(wallet_ids)


@dataclass
class Served:
    """A signer behind a socket and its policy side."""

    path: Path
    server: SignerServer
    client: SignerClient
    side: Signing
    store: HeldStore
    key: AuthorizationKey
    make: Callable[[], Awaitable[SignerServer]]

    async def restart(self, *, grace: float = 1.0) -> None:
        await self.server.stop(grace)
        self.path.unlink(missing_ok=True)
        self.server = await self.make()

    def another_client(self, key: AuthorizationKey | None = None, auth_key: bytes | None = None) -> SignerClient:
        auth = AuthShares(LocalKms({1: auth_key or secrets.token_bytes(32)}, key_id="auth"))
        config = SignerClientConfig(socket_path=self.path, connections=1)
        return SignerClient(config, authorization_key=key or self.key, auth_shares=auth)


@pytest.fixture
async def served(short_path: Path) -> AsyncIterator[Served]:
    path, store = short_path / "signer.sock", HeldStore()
    key = AuthorizationKey(secrets.token_bytes(32))
    recovery = X25519PrivateKey.generate().public_key()

    async def make() -> SignerServer:
        core = SigningCore(
            signer_id="signer",
            exec_keys=LocalKms({1: EXEC_KEY}, key_id="exec"),
            authorization_key=key,
            transport_seed=bytes(range(32)),
            recovery_key=recovery,
            store=store,
            clock=SystemClock(),
        )
        server = SignerServer(core, max_connections=8, frame_seconds=0.2)
        await server.start(path)
        return server

    server = await make()
    client = SignerClient(
        SignerClientConfig(socket_path=path),
        authorization_key=key,
        auth_shares=AuthShares(LocalKms({1: secrets.token_bytes(32)}, key_id="auth")),
    )
    served = Served(path, server, client, Signing.with_system_clock(client, key), store, key, make)
    yield served
    await client.close()
    await served.server.stop(0)


class Raw:
    """A client that writes what it likes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.frames = FrameReader()

    @classmethod
    async def connect(cls, served: Served, *, prove: bool = True) -> Raw:
        raw = cls(*await asyncio.open_unix_connection(str(served.path)))
        (hello,) = await raw.read()
        assert hello.operation == Operation.HELLO
        if prove:
            challenge = bytes(32)
            proof = served.key.prove("client", hello.body + challenge)
            raw.writer.write(encode_frame(Operation.PROVE, 0, protocol.encode_prove(challenge, proof)))
            (answer,) = await raw.read()
            assert answer.operation == Operation.PROVE | protocol.ANSWER
        return raw

    async def read(self) -> list[protocol.Frame]:
        """The next frames; none at the end of the stream."""
        async with asyncio.timeout(5):
            while content := await self.reader.read(65536):
                if frames := list(self.frames.feed(content)):
                    return frames
        return []

    async def ended(self) -> list[protocol.Frame]:
        """Everything up to the end, which the signer makes."""
        frames: list[protocol.Frame] = []
        try:
            while more := await self.read():
                frames += more
        except ConnectionError:
            pass
        return frames


async def test_signer__over_its_socket__generates_and_signs(served: Served) -> None:
    key, made = await served.side.new_key()
    for payload in (payment(), PersonalMessagePayload(b"hello")):
        signature = await served.client.sign(await served.side.request(key, made, payload))
        assert recover_address(payload.digest(), signature.content) == key.address
    health = await served.client.health()
    assert (health["keys_generated"], health["signatures"], health["cached_shares"]) == (1, 2, 1)
    assert served.path.stat().st_mode & 0o777 == 0o600


async def test_signer__hundreds_at_once__answers_each_in_order(served: Served) -> None:
    keys = [await served.side.new_key() for _ in range(3)]
    requests = [await served.side.request(*keys[number % 3], payment(number)) for number in range(300)]
    answers = await served.client.sign_many(requests)
    for request, answer in zip(requests, answers, strict=True):
        assert isinstance(answer, Signature)
        assert recover_address(request.payload.digest(), answer.content) == request.key.address


async def test_signer__misses_of_many_wallets__are_read_together(served: Served) -> None:
    keys = [await served.side.new_key() for _ in range(20)]
    await served.restart()
    answers = await served.client.sign_many([await served.side.request(*key, payment()) for key in keys])
    assert all(isinstance(answer, Signature) for answer in answers)
    assert served.store.reads <= 3


async def test_signer__many_keys__are_stored_together_and_each_signs(served: Served) -> None:
    app, wallets = AppId(new_id()), [WalletId(new_id()) for _ in range(40)]
    signer = await served.client.identity()

    def grant(wallet: WalletId) -> tuple[WalletId, bytes]:
        return wallet, served.side.issuer.issue_generation(signer, app, wallet, "decision")

    made = await served.client.generate_keys(app, [grant(wallet) for wallet in wallets])
    assert served.store.writes <= 5
    for wallet, key in zip(wallets, made, strict=True):
        assert isinstance(key, NewKey)
        named = WalletKey(app_id=app, wallet_id=wallet, address=key.address)
        signature = await served.client.sign(await served.side.request(named, key, payment()))
        assert recover_address(payment().digest(), signature.content) == key.address

    again = await served.client.generate_keys(
        app, [grant(wallets[0]), grant(fresh := WalletId(new_id())), grant(fresh)]
    )
    assert [type(one) for one in again] == [WalletKeyExists, NewKey, WalletKeyExists]


async def test_signer__refusals__arrive_as_their_own_class(served: Served) -> None:
    key, made = await served.side.new_key()
    request = await served.side.request(key, made, payment())
    await served.client.sign(request)
    with pytest.raises(SigningRefused, match="used before"):
        await served.client.sign(request)
    _, other = await served.side.new_key()
    with pytest.raises(SealBroken):
        await served.client.sign(await served.side.request(key, other, payment()))
    grant = served.side.issuer.issue_generation(await served.client.identity(), key.app_id, key.wallet_id, "again")
    with pytest.raises(WalletKeyExists):
        await served.client.generate_key(key.app_id, key.wallet_id, grant)


async def test_signer__transport__is_signed_for_the_list_only(served: Served) -> None:
    signature = await served.client.sign_transport("audit_checkpoint", b"head")
    public = await served.client.transport_public_key("audit_checkpoint")
    assert verify_transport(public, "audit_checkpoint", b"head", signature)
    with pytest.raises(PayloadRefused):
        await served.client.sign_transport("value", b"head")  # type: ignore[arg-type]  # wrong on purpose


async def test_client__after_the_signer_restarted__reconnects_and_authorizes_again(served: Served) -> None:
    key, made = await served.side.new_key()
    before = await served.side.request(key, made, payment())
    await served.restart()
    for _ in range(2):  # each slot of the client may still hold its old connection
        (answer,) = await served.client.sign_many([before])
        assert isinstance(answer, SignerUnavailable | SignerRestarted)
    signature = await served.client.sign(await served.side.request(key, made, payment()))
    assert recover_address(payment().digest(), signature.content) == key.address


async def test_client__no_signer__says_so(served: Served) -> None:
    await served.server.stop(0)
    served.path.unlink(missing_ok=True)
    with pytest.raises(SignerUnavailable):
        await served.another_client().identity()


async def test_client__closed__refuses_further_work(served: Served) -> None:
    await served.client.close()
    with pytest.raises(SignerUnavailable):
        await served.client.health()


async def test_client__without_the_shared_key__is_refused(served: Served) -> None:
    stranger = served.another_client(AuthorizationKey(bytes(32)))
    with pytest.raises(SignerNotTrusted):
        await stranger.identity()
    assert await served.client.health()


async def test_client__signer_without_the_shared_key__is_not_given_anything(served: Served, short_path: Path) -> None:
    """Who takes the place of the socket learns no share: the client speaks only after the other side's proof."""
    heard = bytearray()
    hello = protocol.Hello(await served.client.identity(), bytes(32))

    async def impostor(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(encode_frame(Operation.HELLO, 0, hello.encode()))
        heard.extend(await reader.read(65536))
        proven = protocol.encode_proven(bytes(32), bytes(16))
        writer.write(encode_frame(Operation.PROVE | protocol.ANSWER, 0, proven))
        heard.extend(await reader.read(65536))
        writer.close()

    key, made = await served.side.new_key()
    request = await served.side.request(key, made, payment())
    place = short_path / "taken.sock"
    async with await asyncio.start_unix_server(impostor, str(place)):
        client = SignerClient(
            SignerClientConfig(socket_path=place, connections=1),
            authorization_key=served.key,
            auth_shares=served.client._auth_shares,
        )
        with pytest.raises(SignerNotTrusted):
            await client.sign(request)
        await client.close()
    (frame,) = FrameReader().feed(bytes(heard))
    assert frame.operation == Operation.PROVE


async def test_client__auth_key_that_is_the_exec_key__does_not_connect(served: Served) -> None:
    with pytest.raises(SameKeyForBothShares):
        await served.another_client(auth_key=EXEC_KEY).identity()


async def test_signer__request_before_the_proof__closes_the_connection(served: Served) -> None:
    raw = await Raw.connect(served, prove=False)
    raw.writer.write(encode_frame(Operation.HEALTH, 1, b""))
    (fault,) = await raw.ended()
    assert fault.operation == FAULT
    assert await served.client.health()


@pytest.mark.parametrize(
    "content",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        struct.pack(">I", 2**32 - 1),
        struct.pack(">IBBQI", 14 + 200_000, 1, Operation.SIGN, 1, 0),
        encode_frame(Operation.SIGN, 1, b"garbage"),
        encode_frame(Operation.PROVE, 1, bytes(64)),
        encode_frame(FAULT, 1, b""),
    ],
)
async def test_signer__garbage_after_the_proof__closes_that_connection_only(served: Served, content: bytes) -> None:
    key, made = await served.side.new_key()
    raw = await Raw.connect(served)
    raw.writer.write(content + bytes(64))
    frames = await raw.ended()
    assert all(frame.operation == FAULT for frame in frames)
    await served.client.sign(await served.side.request(key, made, payment()))


async def test_signer__client_that_stops_inside_a_frame__is_cut(served: Served) -> None:
    raw = await Raw.connect(served)
    raw.writer.write(encode_frame(Operation.SIGN, 1, bytes(100))[:50])
    assert await raw.ended() == []
    assert await served.client.health()


async def test_signer__client_that_trickles_one_frame__is_cut(served: Served) -> None:
    raw = await Raw.connect(served)
    trickle = asyncio.create_task(_trickle(raw, encode_frame(Operation.SIGN, 1, bytes(1000))))
    assert await raw.ended() == []
    trickle.cancel()


async def _trickle(raw: Raw, content: bytes) -> None:
    for position in range(len(content)):
        raw.writer.write(content[position : position + 1])
        await asyncio.sleep(0.02)  # slow on purpose: the client is what is tested


async def test_signer__client_that_never_proves_itself__is_cut(served: Served) -> None:
    raw = await Raw.connect(served, prove=False)
    assert await raw.ended() == []


async def test_signer__client_that_does_not_read__is_held_back_and_nobody_else(served: Served) -> None:
    key, made = await served.side.new_key()
    others = set(served.server.connections)
    raw = await Raw.connect(served)
    (held,) = served.server.connections - others
    raw.writer.transport.pause_reading()  # type: ignore[attr-defined]  # the stream's transport can
    frame = encode_frame(Operation.HEALTH, 1, b"")
    for _ in range(100):
        raw.writer.write(frame * 500)
    async with asyncio.timeout(20):
        while held._can_write or held._is_reading:
            await served.client.sign(await served.side.request(key, made, payment()))
    assert len(held._queue) <= MAX_QUEUED + 256 * 1024 // len(frame)  # at most one read of the socket above the limit
    await served.client.sign(await served.side.request(key, made, payment()))
    raw.writer.transport.abort()


async def test_signer__deadline_passed_while_it_waited__does_not_sign(served: Served) -> None:
    key, made = await served.side.new_key()
    await served.restart()
    served.store.open.clear()
    config = SignerClientConfig(socket_path=served.path, connections=1, deadline_seconds=0.05)
    hurried = SignerClient(config, authorization_key=served.key, auth_shares=served.client._auth_shares)
    served.side.executor = hurried
    request = await served.side.request(key, made, payment())
    with pytest.raises(DeadlinePassed):
        await hurried.sign(request)
    served.store.open.set()
    async with asyncio.timeout(5):
        while any(connection._running for connection in served.server.connections):
            await asyncio.sleep(0)
    health = await served.client.health()
    assert health["signatures"] == 0
    await hurried.close()


async def test_signer__database_that_hangs__does_not_stop_other_wallets(served: Served) -> None:
    warm, warm_made = await served.side.new_key()
    await served.restart()
    cold, cold_made = await served.side.new_key()
    del served.store.rows[cold.wallet_id]
    await served.client.sign(await served.side.request(warm, warm_made, payment()))
    served.store.open.clear()
    unknown = await served.side.new_key()
    await served.client.sign(await served.side.request(*unknown, payment()))
    await served.client.sign(await served.side.request(cold, cold_made, payment()))


async def test_signer__told_to_stop__answers_what_it_took(served: Served) -> None:
    key, made = await served.side.new_key()
    await served.restart()
    served.store.open.clear()
    request = await served.side.request(key, made, payment())
    signing = asyncio.create_task(served.client.sign(request))
    async with asyncio.timeout(5):
        while not any(connection._running for connection in served.server.connections):
            await asyncio.sleep(0)
    stopping = asyncio.create_task(served.server.stop(5))
    await asyncio.sleep(0)
    served.store.open.set()
    assert recover_address(payment().digest(), (await signing).content) == key.address
    await stopping


async def test_signer__more_connections_than_it_takes__turns_the_last_away(served: Served) -> None:
    taken = [await Raw.connect(served) for _ in range(8)]
    with pytest.raises((ConnectionError, ValueError, TimeoutError)):
        await Raw.connect(served)
    for raw in taken:
        raw.writer.close()
    async with asyncio.timeout(5):
        while served.server.connections:
            await asyncio.sleep(0)
    assert await served.client.health()


async def test_ed25519__over_the_socket__makes_keys_and_signs_with_them(served: Served) -> None:
    app, wallet = AppId(new_id()), WalletId(new_id())
    signer = await served.client.identity()
    grant = served.side.issuer.issue_generation(signer, app, wallet, "decision", "ed25519")
    made = await served.client.generate_key(app, wallet, grant)
    key = WalletKey(app_id=app, wallet_id=wallet, address=made.address)
    payload = CardanoMessagePayload(b"address", b"hello")

    (signature,) = await served.client.sign_many([await served.side.request(key, made, payload)])

    assert isinstance(signature, Signature)
    assert is_signed_by(made.public_key, payload.encode(), signature.content)
