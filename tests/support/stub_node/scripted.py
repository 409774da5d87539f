"""A node that answers JSON-RPC as a test tells it to: delays, errors, another head, another opinion."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.support.stub_node.rpc import RpcError, RpcServer

Answer = Callable[[list[Any]], Any]
"""From the parameters to the result; an `RpcError` that is raised becomes the error of the call."""


class StubNode(RpcServer):
    """A node without rules."""

    def __init__(self, chain_id: int = 31337, head: int = 100) -> None:
        super().__init__()
        self.chain_id, self.head = chain_id, head
        self.answers: dict[str, Answer] = {}

    def call(self, method: str, params: list[Any]) -> Any:
        if method in self.answers:
            return self.answers[method](params)
        if method == "eth_chainId":
            return hex(self.chain_id)
        if method == "eth_getBlockByNumber" and params[0] == "latest":
            return block(self.head)
        if method == "eth_getBlockByNumber":
            return block(int(params[0], 16)) if int(params[0], 16) <= self.head else None
        raise RpcError(f"the method {method} does not exist", -32601)


def block(number: int) -> dict[str, str]:
    """A block whose hash follows from its number."""
    return {
        "number": hex(number),
        "hash": "0x" + f"{number + 1:064x}",
        "parentHash": "0x" + f"{number:064x}",
        "timestamp": hex(1_700_000_000 + number),
        "baseFeePerGas": "0x1",
    }
