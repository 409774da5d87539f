"""The guide's examples do what it says, with the Python client as it ships."""

from __future__ import annotations

import ast
import re
from collections.abc import Awaitable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from tests.support.custody import ORIGIN, World
from tests.unit.custody.authority.conftest import Caller
from tests.unit.custody.authority.test_signed_requests import GOLDEN_HASH, GOLDEN_KEY, GOLDEN_SIGNATURE

from lockstep.client import AppCredentials, AsyncClient, AuthorizationKey, ProblemError, Retries

GUIDE = (Path(__file__).parents[4] / "docs" / "guide" / "custody.md").read_text(encoding="utf-8")


async def run(source: str, names: dict[str, Any]) -> None:
    """Run an example in which things are awaited."""
    code = compile(source, "guide", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    result = eval(code, names)
    if result is not None:
        await cast(Awaitable[object], result)


async def test_guide__examples_in_python__do_what_it_says(
    world: World, app: Caller, client: httpx.AsyncClient, capsys: pytest.CaptureFixture[str]
) -> None:
    world.clock.advance(datetime.now(UTC) - world.clock.now())  # the client signs by the clock of its host
    credentials = AppCredentials(app.headers["X-App-Id"], app.headers["X-App-Secret"])
    transport = client._transport
    async with AsyncClient(ORIGIN, credentials, transport=transport, retries=Retries(attempts=1)) as ours:
        names: dict[str, Any] = {"client": ours}
        examples = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
        assert len(examples) == 2
        for example in examples:
            await run(example, names)
        assert len(names["signature"]) == 65
        assert "executed 0x" in capsys.readouterr().out

        wallet, alice, bob = names["wallet"], names["alice"], names["bob"]
        with pytest.raises(ProblemError) as refused:
            await ours.signed_by(alice).personal_sign(wallet.id, "hello")
        assert (refused.value.status, refused.value.code) == (401, "authorization_insufficient")
        renamed = await ours.signed_by(alice, bob).update_wallet(wallet.id, display_name="Till")
        assert renamed.display_name == "Till"
        restored = AuthorizationKey.from_text("wallet-auth:" + alice.to_text())
        assert restored.public_key == alice.public_key
        assert "private" not in repr(alice)


def test_guide__vector__is_the_one_that_is_tested() -> None:
    for part in (GOLDEN_HASH, GOLDEN_KEY, GOLDEN_SIGNATURE):
        assert part in GUIDE
