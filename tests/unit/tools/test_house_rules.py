"""Each house rule catches a planted violation and leaves honest code alone."""

import importlib.util
import sys
from pathlib import Path

import pytest

_PATH = Path(__file__).resolve().parents[3] / "tools" / "house_rules.py"
_spec = importlib.util.spec_from_file_location("house_rules", _PATH)
assert _spec is not None
assert _spec.loader is not None
house_rules = importlib.util.module_from_spec(_spec)
sys.modules["house_rules"] = house_rules
_spec.loader.exec_module(house_rules)

TABLES = frozenset({"wallets"})


@pytest.mark.parametrize(
    ("rule", "file", "source"),
    [
        ("float-near-money", "auctions/rules.py", "price = 0.5"),
        ("float-near-money", "settlement/rules/timing.py", "half = amount / 2"),
        ("float-near-money", "assets/types.py", "value = float(text)"),
        ("float-near-money", "kit/money.py", "amount /= 2"),
        ("direct-clock", "settlement/service.py", "now = datetime.now(UTC)"),
        ("direct-clock", "auctions/clock.py", "now = time.time()"),
        ("direct-clock", "auctions/clock.py", "now = datetime.datetime.utcnow()"),
        ("foreign-commit", "custody/service.py", "await connection.commit()"),
        ("foreign-commit", "custody/store.py", "await uow.execute('commit')"),
        ("foreign-commit", "custody/store.py", "await uow.execute(' BEGIN; select 1')"),
        ("tenant-query", "custody/store.py", "q = 'select * from wallets where id = %s'"),
        ("tenant-query", "custody/store.py", "q = f'update wallets set {columns} where id = %s'"),
        ("tenant-query", "custody/audit/store.py", "q = 'select 1 from apps join wallets using (id)'"),
        ("secret-in-text", "custody/service.py", "log.info('made', key=f'{app_secret}')"),
        ("secret-in-text", "custody/service.py", "raise BadSecret(f'was {self.secret}')"),
        ("secret-in-repr", "custody/types.py", "class Made:\n    app_secret: str"),
        ("secret-in-repr", "custody/schemas.py", "class Made(Strict):\n    share: bytes | None = Field(min_length=1)"),
        ("secret-import", "custody/service.py", "from lockstep.custody.execution.shamir import combine"),
        ("secret-import", "app/container.py", "from lockstep.custody.execution import keys"),
        ("private-room", "app/web.py", "from lockstep.custody.types import Principal"),
        ("private-room", "settlement/reads.py", "import lockstep.chains.evm.client"),
    ],
)
def test_check_source__planted_violation__is_found(rule: str, file: str, source: str) -> None:
    assert [violation.rule for violation in house_rules.check_source(file, source, TABLES)] == [rule]


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("auctions/rules.py", "price = amount * 3 // 2"),
        ("auctions/process.py", "delay = 0.5"),
        ("kit/clock.py", "now = datetime.now(UTC)"),
        ("settlement/service.py", "now = clock.now(); began = time.monotonic()"),
        ("kit/database.py", "await connection.execute('commit')"),
        ("custody/store.py", "q = 'select * from wallets where app_id = %s and id = %s'"),
        ("custody/store.py", "q = 'select * from wallets /* all tenants: the engine signs for every app */'"),
        ("custody/store.py", "q = 'select * from checkpoints'"),
        ("custody/service.py", "log.info('made', prefix=f'{prefix}')"),
        ("custody/store.py", "def f():\n    '''All tenants: the engine.'''\n    return 'select * from wallets'"),
        ("app/limits.py", "now = time.time()  # house: direct-clock, because the library counts so"),
        ("custody/types.py", "class Made:\n    secret: str = field(repr=False)\n    is_secret: bool"),
        ("app/settings.py", "class Made:\n    secret: SecretStr"),
        ("custody/wallets.py", "from lockstep.custody.types import Principal"),
        ("app/roles.py", "from lockstep.custody.execution import SignerConfig"),
        ("custody/execution/core.py", "from lockstep.custody.execution.shamir import combine"),
    ],
)
def test_check_source__honest_code__passes(file: str, source: str) -> None:
    assert list(house_rules.check_source(file, source, TABLES)) == []


def test_tenant_tables__real_migrations__are_found() -> None:
    assert {"wallets", "policies"} <= house_rules.tenant_tables()
