"""Our contracts on a local chain: deploy them, mint demo tokens, fund accounts. Sends from the chain's own unlocked
accounts, so no key is held here; nothing of this works on a chain that is not a devnet.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lockstep.app.devnet.anvil import Anvil
from lockstep.app.devnet.errors import ContractsMissing, DevnetFailed
from lockstep.chains.evm import MULTICALL, Address, Contract, UnknownArtifact, load_artifact, parse_address

CONTRACTS = ("EscrowFactory", "DemoToken", "DemoMulticall")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeployedToken:
    """A demo token; whoever deployed the chain may mint it."""

    address: Address
    symbol: str
    decimals: int
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """What stands on one chain."""

    chain: str
    factory: Address
    token: DeployedToken
    first_block: int


TOKEN_A = ("Lockstep Demo Alpha", "ALPHA", 18)
TOKEN_B = ("Lockstep Demo Beta", "BETA", 6)


def contracts_fingerprint() -> str:
    """Changes whenever the compiled contracts in the package do.

    Raises:
        ContractsMissing: they are not there.
    """
    try:
        codes = [Contract.load(name).bytecode for name in CONTRACTS]
    except UnknownArtifact as error:
        raise ContractsMissing(f"{error.detail}; run: make contracts") from error
    return hashlib.sha256(b"".join(codes)).hexdigest()[:16]


async def deploy_contracts(
    anvil: Anvil, token: tuple[str, str, int], *, minimum_window_seconds: int = 1, rescue_delay_seconds: int = 3600
) -> Deployment:
    """Deploy the escrow factory and one demo token, in one block, and put a multicall where other chains have theirs.

    Args:
        token: name, symbol and decimals.
        minimum_window_seconds: shortest window that the factory accepts; short here, so that stories end soon.
    """
    await anvil.call("anvil_setCode", MULTICALL, _hex(load_artifact("DemoMulticall").runtime))
    owner = (await anvil.call("eth_accounts"))[0]
    factory = Contract.load("EscrowFactory").encode_deploy([owner, minimum_window_seconds, rescue_delay_seconds])
    demo = Contract.load("DemoToken").encode_deploy(list(token))
    receipts = await send(anvil, [{"data": _hex(factory)}, {"data": _hex(demo)}])
    name, symbol, decimals = token
    return Deployment(
        chain=anvil.chain,
        factory=parse_address(receipts[0]["contractAddress"]),
        token=DeployedToken(
            address=parse_address(receipts[1]["contractAddress"]), symbol=symbol, decimals=decimals, name=name
        ),
        first_block=min(int(receipt["blockNumber"], 16) for receipt in receipts),
    )


async def is_deployed(anvil: Anvil, deployment: Deployment) -> bool:
    """Whether the contracts stand where they were deployed."""
    codes = [await anvil.call("eth_getCode", address, "latest") for address in _addresses(deployment)]
    return all(code not in ("0x", None) for code in codes)


async def mint(anvil: Anvil, token: Address, account: Address, amount: int) -> None:
    """Make demo tokens for an account; `amount` in the token's smallest unit."""
    data = Contract.load("DemoToken").encode("mint", [account, amount])
    await send(anvil, [{"to": token, "data": _hex(data)}])


async def fund(anvil: Anvil, account: Address, amount_wei: int) -> None:
    """Send native coins to an account from the chain's first one."""
    await send(anvil, [{"to": account, "value": hex(amount_wei)}])


async def send(anvil: Anvil, transactions: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Send transactions from the chain's first account, mine them at once and return their receipts.

    Raises:
        DevnetFailed: one of them was reverted.
    """
    sender = (await anvil.call("eth_accounts"))[0]
    hashes = [
        await anvil.call("eth_sendTransaction", {"from": sender, "gas": hex(12_000_000), **transaction})
        for transaction in transactions
    ]
    receipts = [await anvil.call("eth_getTransactionReceipt", sent) for sent in hashes]
    if any(receipt is None for receipt in receipts):  # the chain mines by time
        await anvil.call("evm_mine")
        receipts = [await anvil.call("eth_getTransactionReceipt", sent) for sent in hashes]
    for receipt in receipts:
        if receipt is None or receipt["status"] != "0x1":
            raise DevnetFailed(
                f"A transaction of the devnet on {anvil.chain} failed; delete the folder and start again"
            )
    return receipts


def _addresses(deployment: Deployment) -> tuple[Address, Address]:
    return deployment.factory, deployment.token.address


def _hex(data: bytes) -> str:
    return "0x" + data.hex()
