"""The test issuer: its tokens hold against its published keys, and only those."""

import json
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jwt
import pytest

from lockstep.app.devnet.issuer import AUDIENCE, ISSUER, TestIssuer
from lockstep.kit.clock import ManualClock


def _verify(issuer: TestIssuer, token: str, audience: str = AUDIENCE) -> dict[str, object]:
    keys = jwt.PyJWKSet.from_json(issuer.jwks_file.read_text())
    key = keys[jwt.get_unverified_header(token)["kid"]]
    claims: dict[str, object] = jwt.decode(token, key, algorithms=["ES256"], audience=audience, issuer=ISSUER)
    return claims


def test_issue_token__for_a_user__holds_and_survives_a_restart(tmp_path: Path) -> None:
    token = TestIssuer(tmp_path).issue_token("maker-1")
    assert _verify(TestIssuer(tmp_path), token)["sub"] == "maker-1"
    assert stat.S_IMODE((tmp_path / "key.pem").stat().st_mode) == 0o600
    assert "d" not in json.loads((tmp_path / "jwks.json").read_text())["keys"][0]


def test_issue_token__other_audience_or_expired__does_not_hold(tmp_path: Path) -> None:
    issuer = TestIssuer(tmp_path)
    with pytest.raises(jwt.InvalidAudienceError):
        _verify(issuer, issuer.issue_token("maker-1", audience="another"))
    old = TestIssuer(tmp_path, clock=ManualClock(datetime(2020, 1, 1, tzinfo=UTC)))
    with pytest.raises(jwt.ExpiredSignatureError):
        _verify(issuer, old.issue_token("maker-1", lifetime=timedelta(hours=1)))


def test_issue_token__of_another_issuer__has_no_key_here(tmp_path: Path) -> None:
    stranger = TestIssuer(tmp_path / "b").issue_token("maker-1")
    with pytest.raises(KeyError):
        _verify(TestIssuer(tmp_path / "a"), stranger)
