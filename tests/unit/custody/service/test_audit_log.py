"""The audit log under attack: edits, deletions, reordering, cuts, and somebody who knows the key of the codes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from tests.support.custody import World, message

from lockstep.custody import AuditEvent, AuditVerifier, CheckpointFile, CheckpointWriter, Wallet, export_entries
from lockstep.custody.audit import Head
from lockstep.custody.audit.rules import SHARDS, entry_hash, entry_mac, merkle_root, root_of, shard_of
from lockstep.kit.canonical import canonical

# --- pure -------------------------------------------------------------------------------------------------------------


def test_merkle_root__vectors_of_certificate_transparency__agree() -> None:
    # Source: test data of the reference implementation of RFC 6962 (leaves of 0, 1, 2 ... bytes).
    leaves = [bytes.fromhex(text) for text in ("", "00", "10", "2021", "3031", "40414243")]
    assert merkle_root([]).hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert merkle_root(leaves[:1]).hex() == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    assert merkle_root(leaves[:2]).hex() == "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"
    assert merkle_root(leaves[:3]).hex() == "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"
    assert merkle_root(leaves[:6]).hex() == "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef"


# --- on a database ----------------------------------------------------------------------------------------------------


@dataclass
class Log:
    """A log with some signatures in it, one checkpoint over them, and entries behind it."""

    world: World
    wallets: list[Wallet]
    file: CheckpointFile
    path: Path
    writer: CheckpointWriter
    public_key: bytes
    admin_dsn: str

    def verifier(self, *, keyed: bool = True, public_key: bytes | None = None) -> AuditVerifier:
        key = self.world.audit_key if keyed else None
        return AuditVerifier(self.file, public_key or self.public_key, key)

    async def codes(self, *, keyed: bool = True) -> set[str]:
        report = await self.verifier(keyed=keyed).verify_database(self.world.database)
        return {finding.code for finding in report.findings}

    def tamper(self, *statements: tuple[str, tuple[object, ...]]) -> None:
        """What somebody with the superuser's rights can do to the tables."""
        with psycopg.connect(self.admin_dsn) as connection:
            connection.execute("alter table audit_entries disable trigger all")
            for statement, params in statements:
                connection.execute(statement, params)  # type: ignore[arg-type]  # literals of this file
            connection.execute("alter table audit_entries enable trigger all")

    def chain(self) -> tuple[str, int, list[tuple[int, str]]]:
        """The longest chain: app, shard, and its (seq, record)."""
        with psycopg.connect(self.admin_dsn) as connection:
            app_id, shard = connection.execute(
                "select app_id, shard from audit_entries group by 1, 2 order by count(*) desc limit 1"
            ).fetchone() or ("", 0)
            rows = connection.execute(
                "select seq, record from audit_entries where app_id = %s and shard = %s order by seq", (app_id, shard)
            ).fetchall()
        return app_id, shard, rows

    def rewrite(self, app_id: str, shard: int, records: list[str]) -> None:
        """Replace a whole chain by another one, all hashes and codes computed with the right key."""
        statements: list[tuple[str, tuple[object, ...]]] = [
            ("delete from audit_entries where app_id = %s and shard = %s", (app_id, shard))
        ]
        head = bytes(32)
        for seq, text in enumerate(records, start=1):
            record = json.loads(text)
            record["seq"] = seq
            raw = canonical(record)
            digest = entry_hash(head, raw)
            mac = entry_mac(self.world.audit_key, digest)
            statements.append(
                (
                    """insert into audit_entries (app_id, shard, seq, prev_hash, entry_hash, mac, record)
                    values (%s, %s, %s, %s, %s, %s, %s)""",
                    (app_id, shard, seq, head, digest, mac, raw.decode()),
                )
            )
            head = digest
        statements.append(
            (
                "update audit_heads set seq = %s, entry_hash = %s where app_id = %s and shard = %s",
                (len(records), head, app_id, shard),
            )
        )
        self.tamper(*statements)


@pytest.fixture
async def audit_log(world: World, tmp_path: Path, admin_dsn: str) -> AsyncIterator[Log]:
    app = await world.app()
    wallets = [await world.wallet(app) for _ in range(3)]
    for number in range(6):
        await world.rpc(app, wallets[number % 3], message(f"before {number}"))
    file = CheckpointFile(tmp_path / "outside" / "checkpoints.jsonl")

    async def sign(payload: bytes) -> bytes:
        signature: bytes = await world.executor.sign_transport("audit_checkpoint", payload)
        return signature

    writer = CheckpointWriter(world.database, file, sign, world.clock)
    assert await writer.write_checkpoint() is not None
    for number in range(3):
        await world.rpc(app, wallets[number % 3], message(f"after {number}"))
    public_key = await world.executor.transport_public_key("audit_checkpoint")
    yield Log(world, wallets, file, tmp_path / "outside" / "checkpoints.jsonl", writer, public_key, admin_dsn)


async def test_verify__an_honest_log__is_intact(audit_log: Log, tmp_path: Path) -> None:
    report = await audit_log.verifier().verify_database(audit_log.world.database)
    assert report.is_intact
    assert report.checkpoints == 1
    assert report.entries >= 24

    count = await export_entries(audit_log.world.database, tmp_path / "export.jsonl")
    offline = audit_log.verifier(keyed=False).verify_export(tmp_path / "export.jsonl")
    assert offline.is_intact
    assert offline.entries == count == report.entries


async def test_verify__one_app_only__says_nothing_about_others(audit_log: Log) -> None:
    await audit_log.world.app("another")
    app_id = audit_log.wallets[0].app_id

    report = await audit_log.verifier().verify_database(audit_log.world.database, app_id)

    assert report.is_intact
    assert report.chains <= SHARDS


async def test_verify__an_edited_record__is_found(audit_log: Log) -> None:
    app_id, shard, rows = audit_log.chain()
    edited = rows[1][1].replace('"result":"done"', '"result":"none"')
    assert edited != rows[1][1]
    audit_log.tamper(
        ("update audit_entries set record = %s where app_id = %s and shard = %s and seq = 2", (edited, app_id, shard))
    )

    assert await audit_log.codes() == {"entry_changed"}


async def test_verify__an_edited_record_with_its_hash__is_found(audit_log: Log) -> None:
    app_id, shard, rows = audit_log.chain()
    edited = rows[1][1].replace('"result":"done"', '"result":"none"')
    audit_log.tamper(
        (
            """update audit_entries set record = %s, entry_hash = sha256('lockstep audit v1'::bytea || prev_hash ||
            convert_to(%s, 'UTF8')) where app_id = %s and shard = %s and seq = 2""",
            (edited, edited, app_id, shard),
        )
    )

    assert {"mac_wrong", "link_broken"} <= await audit_log.codes()
    assert "link_broken" in await audit_log.codes(keyed=False)


async def test_verify__a_deleted_entry__is_found(audit_log: Log) -> None:
    app_id, shard, _ = audit_log.chain()
    audit_log.tamper(("delete from audit_entries where app_id = %s and shard = %s and seq = 2", (app_id, shard)))

    assert "entry_missing" in await audit_log.codes()


async def test_verify__two_entries_that_changed_places__are_found(audit_log: Log) -> None:
    app_id, shard, _ = audit_log.chain()
    swap = "update audit_entries set seq = %s where app_id = %s and shard = %s and seq = %s"
    audit_log.tamper((swap, (99, app_id, shard, 2)), (swap, (2, app_id, shard, 3)), (swap, (3, app_id, shard, 99)))

    codes = await audit_log.codes()
    assert {"link_broken", "entry_changed"} <= codes


async def test_verify__entries_in_another_order_in_an_export__are_found(audit_log: Log, tmp_path: Path) -> None:
    path = tmp_path / "export.jsonl"
    await export_entries(audit_log.world.database, path)
    lines = path.read_text().splitlines()
    lines[0], lines[1] = lines[1], lines[0]
    path.write_text("\n".join(lines) + "\n")

    assert not audit_log.verifier().verify_export(path).is_intact


async def test_verify__the_tail_cut_and_every_hash_recomputed_with_the_key__is_found(audit_log: Log) -> None:
    app_id, shard, rows = audit_log.chain()
    promised = next(head.seq for head in audit_log.file.read()[0].heads if (head.app_id, head.shard) == (app_id, shard))
    audit_log.rewrite(app_id, shard, [record for _, record in rows[: promised - 1]])

    assert await audit_log.codes() == {"chain_cut"}


async def test_verify__a_past_rewritten_with_the_key__is_found(audit_log: Log) -> None:
    app_id, shard, rows = audit_log.chain()
    records = [record for _, record in rows]
    records[1] = records[1].replace('"result":"done"', '"result":"none"')
    audit_log.rewrite(app_id, shard, records)

    assert await audit_log.codes() == {"chain_rewritten"}


async def test_verify__a_whole_chain_removed__is_found(audit_log: Log) -> None:
    app_id, shard, _ = audit_log.chain()
    audit_log.tamper(
        ("delete from audit_entries where app_id = %s and shard = %s", (app_id, shard)),
        ("delete from audit_heads where app_id = %s and shard = %s", (app_id, shard)),
    )

    assert await audit_log.codes() == {"chain_cut"}


async def test_verify__a_cut_that_forgot_the_head__is_found_even_behind_the_checkpoint(audit_log: Log) -> None:
    app_id, shard, rows = audit_log.chain()
    audit_log.tamper(
        ("delete from audit_entries where app_id = %s and shard = %s and seq = %s", (app_id, shard, rows[-1][0]))
    )

    assert "head_wrong" in await audit_log.codes()


async def test_verify__another_public_key__is_said(audit_log: Log) -> None:
    wrong = await audit_log.world.executor.transport_public_key("jwt")
    report = await audit_log.verifier(public_key=wrong).verify_database(audit_log.world.database)
    assert {finding.code for finding in report.findings} == {"checkpoint_signature_wrong"}


async def test_verify__another_audit_key__is_said(audit_log: Log) -> None:
    verifier = AuditVerifier(audit_log.file, audit_log.public_key, bytes(32))
    report = await verifier.verify_database(audit_log.world.database)
    assert {finding.code for finding in report.findings} == {"mac_wrong"}


async def test_verify__edited_or_missing_checkpoints__are_found(audit_log: Log) -> None:
    audit_log.world.clock.advance(timedelta(seconds=10))
    assert await audit_log.writer.write_checkpoint() is not None
    first, second = audit_log.path.read_text().splitlines()

    audit_log.path.write_text(second + "\n")
    assert "checkpoint_missing" in await audit_log.codes()

    members = json.loads(first)
    members["heads"][0][2] += 1
    audit_log.path.write_text(json.dumps(members) + "\n" + second + "\n")
    assert "checkpoint_changed" in await audit_log.codes()

    members = json.loads(first)
    members["time"] = "2020-01-01T00:00:00.000Z"
    audit_log.path.write_text(json.dumps(members) + "\n" + second + "\n")
    assert {"checkpoint_signature_wrong", "checkpoint_changed"} <= await audit_log.codes()


async def test_checkpoint__nothing_new__writes_none(audit_log: Log) -> None:
    assert await audit_log.writer.write_checkpoint() is not None
    assert await audit_log.writer.write_checkpoint() is None
    assert [checkpoint.number for checkpoint in audit_log.file.read()] == [1, 2]


async def test_entries__for_every_role__cannot_be_changed(audit_log: Log, owner_dsn: str) -> None:
    for purpose in ("update audit_entries set record = '{}'", "delete from audit_entries"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            async with audit_log.world.database.system("test") as uow:
                await uow.execute(purpose)  # type: ignore[arg-type]  # literals above
    with psycopg.connect(audit_log.admin_dsn) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("update audit_entries set record = '{}'")


async def test_append__many_transactions_at_once__chains_stay_gapless(world: World) -> None:
    app = await world.app()

    async def one(number: int) -> None:
        async with world.database.tenant(app.tenant) as uow:
            for subject in (f"a{number % 7}", f"b{number % 5}"):
                world.audit.append(
                    uow, AuditEvent(app_id=app.tenant, subject=subject, actor="t", action="x.done", resource="x:1")
                )
            if number % 4 == 0:
                raise RuntimeError("rolled back")

    await asyncio.gather(*[one(number) for number in range(60)], return_exceptions=True)

    rows = await world.rows(
        "select shard, count(*) as entries, max(seq) as last from audit_entries where action = 'x.done' or seq >= 0 group by shard"
    )
    assert all(row["entries"] == row["last"] for row in rows)
    assert len(await world.rows("select 1 as x from audit_entries where action = 'x.done'")) == 90


async def test_append__another_tenants_event__is_refused(world: World) -> None:
    ours, theirs = await world.app("ours"), await world.app("theirs")
    event = AuditEvent(app_id=theirs.tenant, subject="s", actor="t", action="x.done", resource="x:1")
    with pytest.raises(ValueError, match="another tenant"):
        async with world.database.tenant(ours.tenant) as uow:
            world.audit.append(uow, event)


def test_shard_of__many_wallets__spreads_them() -> None:
    assert {shard_of(str(number)) for number in range(100)} == set(range(SHARDS))


def test_head__replaced__is_another_leaf() -> None:
    head = Head(app_id="a", shard=0, seq=1, entry_hash=bytes(32))
    assert root_of([head]) != root_of([replace(head, seq=2)])
