"""Nodes in the test process that speak JSON-RPC over real HTTP.

`StubNode` answers what a test tells it to and knows no rules: for questions about choosing between nodes.
`StrictNode` has a chain and a transaction pool with the rules of geth, refuses in the words of a chosen dialect, and has
faults on command: for questions about what becomes of transactions. It is held against anvil in
tests/unit/support/test_strict_node.py.
"""

from tests.support.stub_node.chain import START, Block, Chain
from tests.support.stub_node.dialects import TEXTS, Dialect, Refusal, words
from tests.support.stub_node.pool import Limits, Pool, Refused
from tests.support.stub_node.rpc import RpcError
from tests.support.stub_node.scripted import StubNode, block
from tests.support.stub_node.strict import SendFault, StrictNode
from tests.support.stub_node.transaction import Tx, decode

__all__ = [
    "START",
    "TEXTS",
    "Block",
    "Chain",
    "Dialect",
    "Limits",
    "Pool",
    "Refusal",
    "Refused",
    "RpcError",
    "SendFault",
    "StrictNode",
    "StubNode",
    "Tx",
    "block",
    "decode",
    "words",
]
