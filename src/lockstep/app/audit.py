"""`lockstep audit`: proves and exports the log of a deployment, with its settings or without."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from lockstep.app.settings import PREFIX, Settings
from lockstep.custody.audit import AuditVerifier, CheckpointFile, Report, export_entries
from lockstep.custody.execution import (
    AuthorizationKey,
    AuthShares,
    LocalKms,
    SignerClient,
    SignerClientConfig,
    read_key_file,
)
from lockstep.kit.database import Database
from lockstep.kit.errors import BadRequest
from lockstep.kit.settings import load_settings


class PublicKeyInvalid(BadRequest):
    """The checkpoint key must be 64 hex digits."""

    code = "public_key_invalid"


async def verify_log(export: Path | None, checkpoints: Path | None, public_key: str | None) -> Report:
    """Verify an export with everything given, else the deployment's own log under its settings."""
    if export is not None and checkpoints is not None and public_key is not None:
        return AuditVerifier(CheckpointFile(checkpoints), _key(public_key)).verify_export(export)
    settings = load_settings(Settings, PREFIX)
    key = _key(public_key) if public_key is not None else await _key_of_signer(settings)
    verifier = AuditVerifier(
        CheckpointFile(checkpoints or settings.audit.checkpoints_file), key, read_key_file(settings.keys.audit_file)
    )
    if export is not None:
        return verifier.verify_export(export)
    database = await _open(settings)
    try:
        return await verifier.verify_database(database)
    finally:
        await database.close()


async def checkpoint_key() -> bytes:
    """The public key that the deployment's checkpoints are signed with."""
    return await _key_of_signer(load_settings(Settings, PREFIX))


async def export_log(file: Path) -> int:
    """Write the deployment's log to a file; returns the number of entries."""
    database = await _open(load_settings(Settings, PREFIX))
    try:
        return await export_entries(database, file)
    finally:
        await database.close()


def show(report: Report, *, as_json: bool) -> None:
    """Print what was found: data to standard output, the verdict in words to standard error."""
    if as_json:
        findings = [{"code": each.code, "where": each.where, "detail": each.detail} for each in report.findings]
        print(
            json.dumps(
                {
                    "intact": report.is_intact,
                    "entries": report.entries,
                    "chains": report.chains,
                    "checkpoints": report.checkpoints,
                    "findings": findings,
                }
            )
        )
        return
    for finding in report.findings:
        print(f"{finding.where}: {finding.detail} ({finding.code})")
    looked = f"{report.entries} entries in {report.chains} chains against {report.checkpoints} checkpoints"
    verdict = "complete and unedited" if report.is_intact else f"NOT intact, {len(report.findings)} findings"
    print(f"· {looked}: {verdict}", file=sys.stderr)


async def _open(settings: Settings) -> Database:
    database = Database(settings.database_url.get_secret_value(), name="audit", min_size=1, max_size=2)
    await database.open()
    return database


async def _key_of_signer(settings: Settings) -> bytes:
    signer = SignerClient(
        SignerClientConfig(socket_path=settings.signer.socket_path, connections=1),
        authorization_key=AuthorizationKey(read_key_file(settings.keys.authorization_file)),
        auth_shares=AuthShares(LocalKms({1: read_key_file(settings.keys.auth_shares_file)}, key_id="auth")),
    )
    try:
        return await signer.transport_public_key("audit_checkpoint")
    finally:
        await signer.close()


def _key(text: str) -> bytes:
    try:
        key = bytes.fromhex(text)
    except ValueError as error:
        raise PublicKeyInvalid from error
    if len(key) != 32:
        raise PublicKeyInvalid
    return key
