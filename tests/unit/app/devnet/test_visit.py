"""Visitors of a devnet: what they are told when nobody is at home."""

import json
from datetime import timedelta
from pathlib import Path

import jwt
import pytest

from lockstep.app.devnet.errors import DevnetNotRunning
from lockstep.app.devnet.issuer import AUDIENCE, ISSUER, TestIssuer
from lockstep.app.devnet.machine import free_port
from lockstep.app.devnet.visit import give, issue_token
from lockstep.chains.evm import Address

SOMEBODY = Address("0x00000000000000000000000000000000000000aa")
TOKEN = {"address": "0x" + "11" * 20, "symbol": "ALPHA", "decimals": 18}


def _folder(path: Path) -> Path:
    chain = {"chain": "eip155:31337", "rpc_url": f"http://127.0.0.1:{free_port()}", "token": TOKEN}
    (path / "summary.json").write_text(json.dumps({"chains": [chain]}))
    return path


def test_issue_token__for_a_user__is_of_the_devnets_issuer(tmp_path: Path) -> None:
    token = issue_token(_folder(tmp_path), "alice", lifetime=timedelta(hours=2))
    keys = jwt.PyJWKSet.from_dict(TestIssuer(tmp_path / "issuer").key_set())
    claims = jwt.decode(token, keys.keys[0], algorithms=["ES256"], audience=AUDIENCE, issuer=ISSUER)
    assert (claims["sub"], claims["exp"] - claims["iat"]) == ("alice", 7200)


def test_issue_token__no_devnet_there__is_said_and_nothing_made(tmp_path: Path) -> None:
    with pytest.raises(DevnetNotRunning, match="lockstep up"):
        issue_token(tmp_path, "alice", lifetime=timedelta(hours=1))
    assert not list(tmp_path.iterdir())


async def test_give__a_stopped_devnet__is_said(tmp_path: Path) -> None:
    with pytest.raises(DevnetNotRunning, match="does not answer"):
        await give(_folder(tmp_path), SOMEBODY, coins=1, tokens=0)
