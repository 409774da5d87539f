"""The committed contract artefacts and golden vectors, judged without a compiler.

`make check` compiles and compares; these tests need milliseconds and find the usual mistake: sources changed, artefacts
not built anew.
"""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data
from eth_utils.crypto import keccak

ROOT = Path(__file__).parents[3]
EVM = ROOT / "contracts" / "evm"
SHIPPED = ROOT / "src" / "lockstep" / "chains" / "evm" / "artifacts"
ARTIFACTS = [
    *(
        SHIPPED / f"{name}.json"
        for name in ("DemoToken", "DemoMulticall", "EscrowFactory", "SourceEscrow", "DestinationEscrow")
    )
]
ARTIFACTS += [EVM / "test-artifacts" / f"{name}.json" for name in ("DemoFeeToken", "DemoBatchAccount")]
VECTORS = json.loads((EVM / "vectors" / "order.json").read_text())
ORDER_TYPES = {
    "Order": "address maker,address sourceToken,uint256 sourceAmount,Destination destination,PriceCurve price,"
    "Deposits deposits,TimeLocks timeLocks,bytes32 hashlockInfo,address[] allowedTakers,uint256 nonce,uint64 expiry,"
    "bytes32 extensionHash",
    "Destination": "string chain,bytes factory,bytes token,bytes receiver",
    "PriceCurve": "uint64 startTime,uint32 duration,uint256 endAmount,uint32 initialRateBump,PricePoint[] points",
    "PricePoint": "uint32 rateBump,uint32 delay",
    "Deposits": "uint256 source,uint256 destination",
    "TimeLocks": "uint32 sourceWithdrawal,uint32 sourcePublicWithdrawal,uint32 sourceCancellation,"
    "uint32 sourcePublicCancellation,uint32 destinationWithdrawal,uint32 destinationPublicWithdrawal,"
    "uint32 destinationCancellation",
}


def source_hash() -> str:
    """The hash that contracts/evm/build.mjs records, computed a second time."""
    inputs = [EVM / "foundry.toml", EVM / "package-lock.json", EVM / "tools" / "solc"]
    inputs += [*(EVM / "src").rglob("*.sol"), *(EVM / "test" / "tokens").rglob("*.sol")]
    lines = sorted((path.relative_to(EVM).as_posix(), sha256(path.read_bytes()).hexdigest()) for path in inputs)
    return sha256("".join(f"{path}\0{content}\n" for path, content in lines).encode()).hexdigest()


@pytest.mark.parametrize("path", ARTIFACTS, ids=lambda path: path.stem)
def test_artifact__committed__was_built_from_these_sources(path: Path) -> None:
    artifact = json.loads(path.read_text())
    assert artifact["contractName"] == path.stem
    assert artifact["sourceHash"] == source_hash(), "run `node contracts/evm/build.mjs` and commit the result"


def test_shipped_code__every_contract__is_under_the_limit() -> None:
    for path in ARTIFACTS:
        assert 0 < len(json.loads(path.read_text())["deployedBytecode"]) // 2 - 1 <= 24_576, path.stem


@pytest.mark.parametrize("vector", VECTORS["vectors"], ids=lambda vector: vector["name"])
def test_order_vector__hashed_by_eth_account__is_the_contracts(vector: dict[str, Any]) -> None:
    document = {
        "types": {
            "EIP712Domain": _members("string name,string version,uint256 chainId,address verifyingContract"),
            **{name: _members(members) for name, members in ORDER_TYPES.items()},
        },
        "primaryType": "Order",
        "domain": {
            "name": "Lockstep",
            "version": "1",
            "chainId": VECTORS["chainId"],
            "verifyingContract": VECTORS["verifyingContract"],
        },
        "message": _numbers(vector["order"]),
    }
    message = encode_typed_data(full_message=document)
    assert "0x" + message.body.hex() == vector["structHash"]
    assert "0x" + keccak(b"\x19\x01" + message.header + message.body).hex() == vector["digest"]
    assert Account.recover_message(message, signature=vector["signature"]) == vector["order"]["maker"]


@pytest.mark.parametrize("vector", VECTORS["vectors"], ids=lambda vector: vector["name"])
def test_escrow_vector__hashed_by_hand__is_the_contracts(vector: dict[str, Any]) -> None:
    order, escrow = vector["order"], vector["sourceEscrow"]
    word = escrow["deployedAt"]
    for seconds in reversed(order["timeLocks"].values()):
        word = word << 32 | seconds
    assert word == int(escrow["timelocks"], 16)

    words = [vector["digest"], order["hashlockInfo"], order["maker"], escrow["taker"], order["sourceToken"]]
    numbers = [int(text, 16) for text in words] + [int(order["sourceAmount"]), int(order["deposits"]["source"]), word]
    parameters = bytes.fromhex(escrow["parameters"].removeprefix("0x"))
    assert parameters == bytes(128)
    salt = keccak(b"".join(number.to_bytes(32, "big") for number in numbers) + keccak(parameters))
    assert "0x" + salt.hex() == escrow["immutablesHash"]

    implementation = bytes.fromhex(escrow["implementation"].removeprefix("0x"))
    code = bytes.fromhex("3d602d80600a3d3981f3363d3d373d3d3d363d73") + implementation
    code += bytes.fromhex("5af43d82803e903d91602b57fd5bf3")
    factory = bytes.fromhex(VECTORS["verifyingContract"].removeprefix("0x"))
    address = keccak(b"\xff" + factory + salt + keccak(code))[12:]
    assert "0x" + address.hex() == escrow["address"].lower()


def _members(text: str) -> list[dict[str, str]]:
    return [dict(zip(("type", "name"), member.split(" "), strict=True)) for member in text.split(",")]


def _numbers(value: Any) -> Any:
    """Decimal strings as integers; what is hexadecimal or a chain's name stays."""
    if isinstance(value, dict):
        return {key: _numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_numbers(item) for item in value]
    return int(value) if isinstance(value, str) and value.isdecimal() else value
