"""Settings: every fault at once, in words, and no secret in sight."""

import json
import os
from dataclasses import fields
from pathlib import Path

import pytest

from lockstep.app.settings import PREFIX, MigrateSettings, Settings, SignerSettings
from lockstep.chains.evm import PROFILES, ChainConfig, DataFee, FeeStyle
from lockstep.kit.settings import SettingsInvalid, load_settings

FACTORY = "0x5FbDB2315678afecb367f032d93F642f64180aa3"
CHAIN = {
    "chain": "eip155:31337",
    "name": "One",
    "rpc_urls": ["http://127.0.0.1:8545/secret-node-key"],
    "minimum_deposit_wei": 1,
    "finality_blocks": 2,
    "block_seconds": 1,
    "max_fee_per_gas": 10**11,
    "contracts": {"EscrowFactory": FACTORY},
    "tokens": [{"address": FACTORY.lower(), "symbol": "ALPHA", "decimals": 18, "name": "Alpha"}],
}
COMPLETE = {
    "PROFILE": "development",
    "DATABASE_URL": "postgresql://service:hunter2@127.0.0.1/lockstep",
    "SIGNER__SOCKET_PATH": "/run/lockstep/signer.sock",
    "KEYS__AUTH_SHARES_FILE": "/keys/auth",
    "KEYS__AUTHORIZATION_FILE": "/keys/authorization",
    "KEYS__AUDIT_FILE": "/keys/audit",
    "AUDIT__CHECKPOINTS_FILE": "/audit/checkpoints.jsonl",
    "CHAINS": json.dumps([CHAIN]),
}


@pytest.fixture
def environ(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The complete settings of the service, and nothing else that begins like them."""
    for name in os.environ:
        if name.startswith(PREFIX):
            monkeypatch.delenv(name)
    for name, value in COMPLETE.items():
        monkeypatch.setenv(PREFIX + name, value)
    return monkeypatch


def _faults() -> list[str]:
    with pytest.raises(SettingsInvalid) as caught:
        load_settings(Settings, PREFIX)
    return caught.value.detail.splitlines()


def test_settings__complete__are_typed_frozen_and_show_no_secret(environ: pytest.MonkeyPatch) -> None:
    environ.setenv("LOCKSTEP_HTTP__CORS_ORIGINS", "https://a.example, https://b.example")
    settings = load_settings(Settings, PREFIX)
    config = settings.chains[0].config()
    assert (config.chain_id, config.contracts) == (31337, {"EscrowFactory": FACTORY.lower()})
    assert settings.chains[0].registered_tokens()[0].asset == f"eip155:31337/erc20:{FACTORY.lower()}"
    assert settings.http.cors_origins == ("https://a.example", "https://b.example")
    assert "hunter2" not in repr(settings)
    assert "secret-node-key" not in repr(settings)
    with pytest.raises(ValueError, match="frozen"):
        settings.log_level = "debug"  # type: ignore[misc]  # that it is refused is the point


def test_settings__many_faults__are_reported_together_by_variable(environ: pytest.MonkeyPatch) -> None:
    environ.delenv("LOCKSTEP_KEYS__AUDIT_FILE")
    environ.setenv("LOCKSTEP_HTTP__PORT", "eighty")
    environ.setenv("LOCKSTEP_LOG_LEVEL", "loud")
    environ.setenv("LOCKSTEP_CHAINS", json.dumps([{**CHAIN, "rpc_urls": [], "color": "red"}]))
    faults = _faults()
    for variable in ("KEYS__AUDIT_FILE", "HTTP__PORT", "LOG_LEVEL", "CHAINS__0__RPC_URLS", "CHAINS__0__COLOR"):
        assert any(fault.startswith(f"LOCKSTEP_{variable}: ") for fault in faults), (variable, faults)


def test_settings__faults_of_every_kind__none_hides_another(environ: pytest.MonkeyPatch) -> None:
    """Groups that are no JSON, values that only a library reads, and what several values say together."""
    live = {**CHAIN, "chain": "eip155:1"}
    senseless = {**CHAIN, "chain": "eip155:5", "max_fee_per_gas": 1, "min_priority_fee_per_gas": 2}
    environ.setenv("LOCKSTEP_PROFILE", "production")
    environ.setenv("LOCKSTEP_LOG_LEVEL", "loud")
    environ.setenv("LOCKSTEP_POOL", '{"max_size')
    environ.setenv("LOCKSTEP_SIGNER", "[1")
    environ.setenv("LOCKSTEP_LIMITS__PER_APP", "often")
    environ.setenv("LOCKSTEP_CHAINS", json.dumps([live]))
    faults = {fault.split(":")[0].removeprefix(PREFIX): fault for fault in _faults()}
    groups = {"LOG_LEVEL", "POOL", "SIGNER", "LIMITS__PER_APP", "HTTP", "ACKNOWLEDGE_UNAUDITED_CONTRACTS"}
    assert faults.keys() == groups, faults
    environ.setenv("LOCKSTEP_CHAINS", json.dumps([CHAIN, CHAIN]))
    assert any("eip155:31337 is configured twice" in fault for fault in _faults())
    environ.setenv("LOCKSTEP_CHAINS", json.dumps([CHAIN, senseless]))
    assert any(fault.startswith("LOCKSTEP_CHAINS__1: ") and "lies below" in fault for fault in _faults())


def test_settings__nothing_given__names_every_value_that_is_needed(environ: pytest.MonkeyPatch) -> None:
    for name in COMPLETE:
        environ.delenv(PREFIX + name)
    named = {fault.split(":")[0].removeprefix(PREFIX) for fault in _faults()}
    # Without a profile it is production, where the default address is not safe enough.
    assert named == (COMPLETE.keys() - {"PROFILE"}) | {"HTTP"}


def test_settings__wrong_values__are_never_repeated(environ: pytest.MonkeyPatch) -> None:
    environ.setenv("LOCKSTEP_CHAINS", json.dumps([{**CHAIN, "rpc_urls": "https://node/secret-node-key"}]))
    environ.setenv("LOCKSTEP_POOL", '{"max_size": "hunter2"}')
    assert not any("secret-node-key" in fault or "hunter2" in fault for fault in _faults())


def test_settings__secret_in_a_file__is_read(environ: pytest.MonkeyPatch, tmp_path: Path) -> None:
    environ.delenv("LOCKSTEP_DATABASE_URL")
    environ.setenv("LOCKSTEP_DATABASE_URL_FILE", str(tmp_path / "url"))
    (tmp_path / "url").write_text("postgresql://from-file\n")
    assert load_settings(Settings, PREFIX).database_url.get_secret_value() == "postgresql://from-file"


def test_settings__file_missing_or_given_twice__is_one_fault_among_others(
    environ: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    environ.setenv("LOCKSTEP_DATABASE_URL_FILE", str(tmp_path / "url"))
    environ.setenv("LOCKSTEP_ISSUERS_FILE", str(tmp_path / "missing"))
    faults = _faults()
    assert any("expected only one of LOCKSTEP_DATABASE_URL and LOCKSTEP_DATABASE_URL_FILE" in f for f in faults)
    assert any("LOCKSTEP_ISSUERS_FILE: cannot read" in fault for fault in faults)


def test_settings__production_without_https__is_refused(environ: pytest.MonkeyPatch) -> None:
    environ.setenv("LOCKSTEP_PROFILE", "production")
    environ.setenv("LOCKSTEP_HTTP__TRUSTED_HOSTS", "*")
    (fault,) = _faults()
    assert "public_url must be https" in fault
    assert 'must not be "*"' in fault


def test_settings__production_without_a_safety_deposit__is_refused(environ: pytest.MonkeyPatch) -> None:
    environ.setenv("LOCKSTEP_PROFILE", "production")
    environ.setenv("LOCKSTEP_HTTP__PUBLIC_URL", "https://lockstep.example")
    factory = {"EscrowFactory": "0x" + "11" * 20}
    environ.setenv("LOCKSTEP_CHAINS", json.dumps([{**CHAIN, "contracts": factory, "minimum_deposit_wei": 0}]))
    assert any("minimum_deposit_wei must be above 0" in fault for fault in _faults())
    environ.setenv("LOCKSTEP_CHAINS", json.dumps([{**CHAIN, "contracts": factory, "minimum_deposit_wei": 1}]))
    assert load_settings(Settings, PREFIX).chains[0].minimum_deposit_wei == 1


@pytest.mark.parametrize("chain", ["eip155:1", "eip155:424242"])
def test_settings__contracts_on_a_chain_with_real_money__want_an_acknowledgement(
    environ: pytest.MonkeyPatch, chain: str
) -> None:
    environ.setenv("LOCKSTEP_CHAINS", json.dumps([{**CHAIN, "chain": chain}]))
    assert "no outside audit" in _faults()[0]
    environ.setenv("LOCKSTEP_ACKNOWLEDGE_UNAUDITED_CONTRACTS", "true")
    assert load_settings(Settings, PREFIX).chains[0].chain == chain


def test_settings__profile_of_a_chain__gives_what_is_left_out_and_nothing_else(environ: pytest.MonkeyPatch) -> None:
    left_out = ("finality_blocks", "block_seconds")
    base = {name: value for name, value in CHAIN.items() if name not in left_out}

    def config(**changes: object) -> ChainConfig:
        environ.setenv("LOCKSTEP_CHAINS", json.dumps([{**base, **changes}]))
        return load_settings(Settings, PREFIX).chains[0].config()

    for name, profile in PROFILES.items():
        made = config(profile=name)
        for field in fields(profile):
            assert getattr(made, field.name) == getattr(profile, field.name), (name, field.name)
    assert config(**CHAIN) == config(**{**CHAIN, "profile": "ethereum"})
    given = config(
        profile="polygon", finality_blocks=7, block_seconds=3, min_priority_fee_per_gas=5, fee_style="legacy"
    )
    assert (given.finality_blocks, given.finality_tag, given.block_seconds) == (7, None, 3)
    assert (given.min_priority_fee_per_gas, given.fee_style) == (5, FeeStyle.LEGACY)
    raised = config(profile="optimism", has_fee_auction=False, data_fee="in_gas", transaction_gas_cap=5, blooms=False)
    assert (raised.has_fee_auction, raised.data_fee) == (False, DataFee.IN_GAS)
    assert (raised.transaction_gas_cap, raised.blooms) == (5, False)
    hidden = config(private_rpc_url="https://relay/secret-relay-key", private_by_default=True)
    assert (hidden.private_rpc_url, hidden.private_fallback_blocks) == ("https://relay/secret-relay-key", None)
    assert "secret-relay-key" not in repr(hidden) + repr(load_settings(Settings, PREFIX))
    both = config(finality_blocks=7, finality_tag="safe")
    assert (both.finality_blocks, both.finality_tag) == (7, "safe")
    environ.setenv("LOCKSTEP_CHAINS", json.dumps([{**base, "finality_tag": "none"}]))
    assert "finality_blocks says" in _faults()[0]


def test_settings__pair_of_an_unknown_chain__is_refused(environ: pytest.MonkeyPatch) -> None:
    times = dict.fromkeys(
        ["source_finality", "destination_finality", "source_inclusion", "destination_inclusion", "clock_skew"], 2
    )
    pair = {"source": "eip155:31337", "destination": "eip155:5", "public_duty": 2, **times}
    environ.setenv("LOCKSTEP_CHAIN_PAIRS", json.dumps([pair]))
    assert "eip155:5, which is not among the chains" in _faults()[0]


def test_roles__keys_of_the_other_side__are_not_read(environ: pytest.MonkeyPatch) -> None:
    assert not set(Settings.model_fields) & {"signer_keys", "signer_database_url", "owner_database_url"}
    assert not set(SignerSettings.model_fields) & {"keys", "database_url", "owner_database_url"}
    assert "signer_keys" not in MigrateSettings.model_fields
    assert "keys" in Settings.model_fields
