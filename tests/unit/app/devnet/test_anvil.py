"""Local chains: start, stop, save, and end with whoever started them."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from lockstep.app.devnet.anvil import Anvil, AnvilError, anvil_program
from lockstep.app.devnet.contracts import TOKEN_A, deploy_contracts, fund, is_deployed, mint
from lockstep.app.devnet.errors import PortTaken, ProgramsMissing
from lockstep.app.devnet.machine import processes_in, until
from lockstep.chains.evm import Address, Contract

SOMEBODY = Address("0x" + "5a" * 20)


@pytest.fixture(autouse=True)
def needs_anvil() -> None:
    try:
        anvil_program()
    except ProgramsMissing as error:
        pytest.skip(error.detail)


async def test_stop__saved_chain__goes_on_where_it_was(tmp_path: Path) -> None:
    node = Anvil(tmp_path, chain_id=4242, is_saved=True)
    async with node:
        deployment = await deploy_contracts(node, TOKEN_A)
        await mint(node, deployment.token.address, SOMEBODY, 5)
        await fund(node, SOMEBODY, 7)
        height, port = await node.call("eth_blockNumber"), node.port
    assert processes_in(tmp_path, "anvil") == []
    async with node:
        assert (node.port, await node.call("eth_blockNumber")) == (port, height)
        assert await node.call("eth_getBalance", SOMEBODY, "latest") == "0x7"
        assert await is_deployed(node, deployment)
        question = {"to": deployment.token.address}
        question["data"] = "0x" + Contract.load("DemoToken").encode("balanceOf", [SOMEBODY]).hex()
        assert int(await node.call("eth_call", question, "latest"), 16) == 5


async def test_start__asked_port_taken__says_so(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(PortTaken, match=f"Port {port} is in use"):
            await Anvil(tmp_path, chain_id=4242, port=port).start()


async def test_start__preferred_port_taken__takes_another(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        async with Anvil(tmp_path, chain_id=4242, preferred_port=taken) as node:
            assert node.port != taken


async def test_call__node_refuses__says_which_method_and_why(tmp_path: Path) -> None:
    async with Anvil(tmp_path, chain_id=4242) as node:
        with pytest.raises(AnvilError, match="anvil_notAMethod on eip155:4242"):
            await node.call("anvil_notAMethod")


PARENT = """
import asyncio, sys
from pathlib import Path
from lockstep.app.devnet.anvil import Anvil

async def main():
    await Anvil(Path(sys.argv[1]), chain_id=4242, is_saved=True).start()
    print("ready", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent died")
async def test_parent__killed__takes_the_chain_along_and_it_is_saved(tmp_path: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path)], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    assert parent.stdout.readline() == b"ready\n"
    assert len(processes_in(tmp_path, "anvil")) == 1
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    assert await until(lambda: not processes_in(tmp_path, "anvil"), 15)
    assert (tmp_path / "state.json").exists()


async def test_fixture__chain_left_behind_changed__begins_anew(anvil: Anvil) -> None:
    await anvil.call("evm_increaseTime", 10_000)
    await anvil.call("evm_setAutomine", False)
    await anvil.call("anvil_mine", "0x5")


async def test_fixture__after_that_test__is_at_its_first_block(anvil: Anvil) -> None:
    assert await anvil.call("eth_blockNumber") == "0x0"
    await fund(anvil, SOMEBODY, 1)
    assert await anvil.call("eth_blockNumber") == "0x1"


async def test_fixture__pair__are_two_chains(anvil_pair: tuple[Anvil, Anvil]) -> None:
    assert [int(await node.call("eth_chainId"), 16) for node in anvil_pair] == [31337, 31338]
