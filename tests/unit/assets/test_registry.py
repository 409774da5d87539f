"""Names of assets and the registry."""

import pytest

from lockstep.assets import BadAsset, Token, TokenRegistry, UnknownAsset, parse_asset

ADDRESS = "0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed"
TOKEN = Token(asset=f"eip155:1/erc20:{ADDRESS}", chain="eip155:1", address=ADDRESS, symbol="T", decimals=6, name="Test")


def test_registry__any_case_of_the_address__same_token() -> None:
    registry = TokenRegistry([TOKEN], ["eip155:1"])
    assert registry.get("eip155:1/erc20:0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed") is TOKEN
    assert registry.get("eip155:1/slip44:60").symbol == "ETH"
    assert registry.find("eip155:1", None) is registry.get("eip155:1/slip44:60")
    assert len(registry.on_chain("eip155:1")) == 2
    with pytest.raises(UnknownAsset):
        registry.get(f"eip155:2/erc20:{ADDRESS}")


@pytest.mark.parametrize(
    "name",
    [
        "",
        "eip155:1",
        "eip155:1/slip44:0",
        "eip155:0/slip44:60",
        f"eip155:01/erc20:{ADDRESS}",
        f"eip155:1/erc20:{ADDRESS}0",
        f"eip155:1/erc721:{ADDRESS}",
        "eip155:1/erc20:0x5AAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
    ],
)
def test_parse_asset__not_a_name__refused(name: str) -> None:
    with pytest.raises(BadAsset):
        parse_asset(name)


def test_registry__fields_that_do_not_fit__refused() -> None:
    with pytest.raises(ValueError, match="fit"):
        TokenRegistry([Token(asset=TOKEN.asset, chain="eip155:2", address=ADDRESS, symbol="T", decimals=6, name="x")])
