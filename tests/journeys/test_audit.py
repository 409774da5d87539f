"""Whoever edits the audit log is found by `lockstep audit verify`, even with every key of the database's side in hand."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import psycopg
import pytest
from tests.journeys.support import App, Deployment, payment, until

from lockstep.custody import read_key_file
from lockstep.custody.audit.rules import entry_hash, entry_mac
from lockstep.kit.canonical import canonical

Connection = psycopg.Connection[dict[str, object]]


def checkpoints(deployment: Deployment) -> list[dict[str, object]]:
    file = deployment.folder / "audit" / "checkpoints.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


@pytest.fixture(scope="module")
def chain(deployment: Deployment) -> Iterator[tuple[str, int]]:
    """(app, shard) of a chain of at least five entries, all of them under a checkpoint; no worker writes meanwhile."""
    app: App = deployment.new_app("Audited")
    wallet = app.wallet(ether=1)
    for number in range(2):
        app.wait_transaction(app.rpc(wallet["id"], payment(wallet["address"], number))["transaction_id"])
    heads = {
        (row["app_id"], row["shard"]): row["seq"]
        for row in deployment.rows("select app_id, shard, seq from audit_heads where app_id = %s", app.id)
    }
    (longest, length) = max(heads.items(), key=lambda each: each[1])
    assert length >= 5

    def is_covered() -> bool:
        text = json.dumps(checkpoints(deployment)[-1:])
        return f'"{longest[0]}"' in text and deployment.command("audit", "verify").returncode == 0

    until(is_covered, "a checkpoint over the whole chain", pause=1)
    deployment.run(deployment.stack.stop_role("work-1"))
    yield longest
    deployment.run(_start_worker(deployment))
    until(
        lambda: app.is_believed(wallet["id"]),
        "the database to be believed again, after the edits were taken back",
        pause=0.5,
    )


async def _start_worker(deployment: Deployment) -> None:
    deployment.stack.start_role("work-1", "work")


@pytest.fixture
def tamper(deployment: Deployment) -> Iterator[Callable[..., None]]:
    """Runs SQL on the log; afterwards the log is as it was."""
    with deployment.database() as connection:
        connection.execute("set session_replication_role = replica")  # no trigger stops this attacker
        connection.execute("create temp table old_entries as select * from audit_entries")
        connection.execute("create temp table old_heads as select * from audit_heads")

        columns = {
            row["name"]: row["columns"]
            for row in connection.execute(
                "select table_name as name, string_agg(column_name, ', ') as columns from information_schema.columns"
                " where table_name in ('audit_entries', 'audit_heads') and is_generated = 'NEVER' group by table_name"
            )
        }

        def run(query: str, *params: object) -> None:
            changed = connection.execute(query, params)  # type: ignore[arg-type]  # queries of tests are literals
            assert changed.rowcount > 0

        yield run
        for name, kept in (("audit_entries", "old_entries"), ("audit_heads", "old_heads")):
            connection.execute(f"delete from {name}")
            connection.execute(f"insert into {name} ({columns[name]}) select {columns[name]} from {kept}")


def test_audit__edited_by_the_superuser_of_the_database__is_refused_by_the_database(
    deployment: Deployment, chain: tuple[str, int]
) -> None:
    for query in ("update audit_entries set record = ''", "delete from audit_entries", "truncate audit_entries"):
        with deployment.database() as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(query)


def verify(deployment: Deployment) -> tuple[int, set[str]]:
    """Exit code of the real command, and the codes of what it found."""
    done = deployment.command("audit", "verify", "--json")
    report = json.loads(done.stdout)
    assert report["intact"] == (done.returncode == 0)
    return done.returncode, {finding["code"] for finding in report["findings"]}


def test_audit__nobody_touched_it__is_intact(deployment: Deployment, chain: tuple[str, int]) -> None:
    done = deployment.command("audit", "verify")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "complete and unedited" in done.stderr


def test_audit__an_edited_record__is_found(
    deployment: Deployment, chain: tuple[str, int], tamper: Callable[..., None]
) -> None:
    tamper(
        "update audit_entries set record = replace(record, '\"done\"', '\"denied\"')"
        " where app_id = %s and shard = %s and seq = 2",
        *chain,
    )

    done = deployment.command("audit", "verify")

    assert done.returncode == 5
    assert f"{chain[0]}/{chain[1]}#2" in done.stdout
    assert "entry_changed" in done.stdout
    assert "NOT intact" in done.stderr


def test_audit__a_deleted_record__is_found(
    deployment: Deployment, chain: tuple[str, int], tamper: Callable[..., None]
) -> None:
    tamper("delete from audit_entries where app_id = %s and shard = %s and seq = 3", *chain)

    status, found = verify(deployment)

    assert (status, "entry_missing" in found) == (5, True)


def test_audit__records_in_another_order__are_found(
    deployment: Deployment, chain: tuple[str, int], tamper: Callable[..., None]
) -> None:
    move = "update audit_entries set seq = %s where app_id = %s and shard = %s and seq = %s"
    for old, new in ((2, 1002), (3, 2), (1002, 3)):
        tamper(move, new, *chain, old)

    status, found = verify(deployment)

    assert (status, "link_broken" in found) == (5, True)


def test_audit__a_whole_app_removed__is_found(
    deployment: Deployment, chain: tuple[str, int], tamper: Callable[..., None]
) -> None:
    tamper("delete from audit_entries where app_id = %s", chain[0])
    tamper("update audit_heads set seq = 0, entry_hash = decode(repeat('00', 32), 'hex') where app_id = %s", chain[0])

    status, found = verify(deployment)

    assert (status, found) == (5, {"chain_cut"})


@pytest.mark.parametrize("cut", [0, 1])
def test_audit__every_hash_recomputed_with_the_key__is_found_by_the_checkpoint(
    deployment: Deployment, chain: tuple[str, int], tamper: Callable[..., None], cut: int
) -> None:
    key = read_key_file(deployment.stack.devnet.keys.audit)
    entries = deployment.rows(
        "select seq, record from audit_entries where app_id = %s and shard = %s order by seq", *chain
    )
    before = bytes(32)
    if cut:
        last = entries.pop()
        tamper("delete from audit_entries where app_id = %s and shard = %s and seq = %s", *chain, last["seq"])
    for entry in entries:
        record = json.loads(entry["record"])
        if entry["seq"] == 2:
            record["actor"] = "app:somebody-else"
        text = canonical(record)
        digest = entry_hash(before, text)
        tamper(
            "update audit_entries set prev_hash = %s, entry_hash = %s, mac = %s, record = %s"
            " where app_id = %s and shard = %s and seq = %s",
            before,
            digest,
            entry_mac(key, digest),
            text.decode(),
            *chain,
            entry["seq"],
        )
        before = digest
    tamper(
        "update audit_heads set seq = %s, entry_hash = %s where app_id = %s and shard = %s",
        entries[-1]["seq"],
        before,
        *chain,
    )

    status, found = verify(deployment)

    assert status == 5
    assert found <= {"chain_cut", "chain_rewritten"}
    assert "chain_rewritten" in found or cut
    assert ("chain_cut" in found) == bool(cut)


def test_audit__checkpoint_file_edited__is_found(deployment: Deployment, chain: tuple[str, int]) -> None:
    file = deployment.folder / "audit" / "checkpoints.jsonl"
    kept = file.read_bytes()
    lines = kept.decode().splitlines()
    try:
        file.write_text("\n".join([*lines[:-2], lines[-1]]) + "\n")
        status, found = verify(deployment)
    finally:
        file.write_bytes(kept)

    assert (status, "checkpoint_missing" in found) == (5, True)


def test_audit__a_database_older_than_its_mark__is_told_before_it_is_accepted(
    deployment: Deployment, chain: tuple[str, int], tamper: Callable[..., None]
) -> None:
    nothing = deployment.command("audit", "accept-restore")
    tamper(
        "delete from audit_entries where app_id = %s and shard = %s and seq >= 2",
        *chain,
    )

    told = deployment.command("audit", "accept-restore")

    assert (nothing.returncode, told.returncode) == (0, 5)
    assert "nothing to accept" in nothing.stderr
    assert "chains of the audit log end before the last checkpoint" in told.stderr
    assert "--yes" in told.stderr
    findings = json.loads(deployment.command("doctor", "--json").stdout)
    (guard,) = (finding for finding in findings if finding["what"] == "restore guard")
    assert guard["verdict"] == "fail"
