"""What requests really move, however they are wrapped."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockstep.chains.evm import (
    ENTRY_POINT,
    Authorization,
    UserOperation,
    abi_encode,
    abi_encode_call,
    address_to_bytes,
    read_typed_data,
)
from lockstep.custody.view import (
    BlindSign,
    RequestView,
    SignUserOperation,
    TransactionDraft,
    parse_rpc,
    view_authorization,
    view_draft,
    view_message,
    view_request,
    view_typed_data,
)
from lockstep.custody.view.leaves import UNLIMITED, LeafKind, Leaves, leaves_of
from lockstep.custody.view.leaves.calls import MAX_CALLS, MAX_DEPTH, MULTI_SENDS

CHAIN, OTHER_CHAIN = "eip155:31337", "eip155:1"
WALLET = "0x" + "a1" * 20
TOKEN, OTHER, ACCOUNT, SHOP = ("0x" + pair * 20 for pair in ("70", "71", "5a", "b0"))
MULTI_SEND = min(MULTI_SENDS)
EXEC = "execTransaction(address,uint256,bytes,uint8,uint256,uint256,uint256,address,address,bytes)"
ZERO = "0x" + "00" * 20


def transaction(to: str | None, value: int = 0, data: bytes = b"") -> RequestView:
    return view_draft(TransactionDraft(chain_id=31337, to=to, value=value, data=data), WALLET)  # type: ignore[arg-type]


def authorization(contract: str = ACCOUNT, authority: str = WALLET) -> RequestView:
    given = Authorization(chain_id=31337, contract=contract, nonce=0)  # type: ignore[arg-type]  # addresses in lower case
    return view_authorization(given, authority, WALLET)  # type: ignore[arg-type]


def test_leaves_of__delegation__puts_everything_of_the_own_account_in_doubt() -> None:
    assert leaves_of(authorization()).native(CHAIN) is None
    assert leaves_of(authorization()).token(CHAIN, TOKEN) is None
    assert leaves_of(authorization(authority=OTHER)) == Leaves()
    assert leaves_of(authorization(contract=ZERO)) == Leaves()


def test_leaves_of__transaction_with_a_delegation__adds_both_up() -> None:
    own, foreign = authorization(), authorization(authority=OTHER)
    payment = transaction(SHOP, 5)

    assert leaves_of(replace(payment, parts=(payment, foreign))).native(CHAIN) == 5
    assert leaves_of(replace(payment, parts=(payment, own))).native(CHAIN) is None


def test_leaves_of__several_calls_at_once__adds_up_what_each_moves() -> None:
    pays = abi_encode_call("transfer(address,uint256)", [SHOP, 3])
    calls = [{"to": SHOP, "value": "5"}, {"to": SHOP, "value": "2"}, {"to": TOKEN, "data": "0x" + pays.hex()}]
    body = {"method": "wallet_sendCalls", "caip2": CHAIN, "params": {"calls": calls}}

    leaves = leaves_of(view_request(parse_rpc(body), WALLET))  # type: ignore[arg-type]  # an address in lower case

    assert (leaves.native(CHAIN), leaves.token(CHAIN, TOKEN)) == (7, 3)


def operation(call_data: bytes) -> RequestView:
    given = UserOperation(
        chain_id=31337,
        entry_point=ENTRY_POINT,
        sender=ACCOUNT,  # type: ignore[arg-type]  # in lower case
        nonce=0,
        call_data=call_data,
        call_gas_limit=1,
        verification_gas_limit=1,
        pre_verification_gas=1,
        max_fee_per_gas=1,
        max_priority_fee_per_gas=1,
    )
    return view_request(SignUserOperation(operation=given), WALLET)  # type: ignore[arg-type]


def test_leaves_of__user_operation__is_what_its_calls_move() -> None:
    pair = [[TOKEN, SHOP], [0, 7], [transfer(5), b""]]
    batch = abi_encode_call("executeBatch(address[],uint256[],bytes[])", pair)

    assert leaves_of(operation(batch)).native(CHAIN) == 7
    assert leaves_of(operation(batch)).token(CHAIN, TOKEN) == 5
    for unread in (b"", b"\xde\xad\xbe\xef", batch + b"\x00"):
        assert leaves_of(operation(unread)).native(CHAIN) is None


def test_leaves_of__hash__puts_everything_in_doubt() -> None:
    assert leaves_of(view_request(BlindSign(content=b"h" * 32), WALLET)).native() is None  # type: ignore[arg-type]


def called(to: str, data: bytes, value: int = 0) -> Leaves:
    return leaves_of(transaction(to, value, data))


def transfer(amount: int) -> bytes:
    return abi_encode_call("transfer(address,uint256)", [SHOP, amount])


def safe(to: str, value: int, data: bytes, operation: int = 0, gas_price: int = 0) -> bytes:
    return abi_encode_call(EXEC, [to, value, data, operation, 0, 0, gas_price, ZERO, ZERO, b"\x01" * 65])


def packed(*calls: tuple[str, int, bytes]) -> bytes:
    return b"".join(
        b"\x00" + address_to_bytes(to) + value.to_bytes(32, "big") + len(data).to_bytes(32, "big") + data  # type: ignore[arg-type]
        for to, value, data in calls
    )


def typed(primary: str, types: dict[str, str], message: dict[str, Any], **domain: Any) -> Leaves:
    """Types as "kind name, kind name"."""
    document = {
        "types": {
            name: [dict(zip(("type", "name"), member.split(" "), strict=True)) for member in members.split(", ")]
            for name, members in types.items()
        },
        "primaryType": primary,
        "domain": {"name": "Test", "chainId": 31337, "verifyingContract": TOKEN} | domain,
        "message": message,
    }
    document["domain"] = {name: value for name, value in document["domain"].items() if value is not None}
    return leaves_of(view_typed_data(read_typed_data(document), WALLET))


# --- single calls -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("signature", "arguments", "amount", "kind"),
    [
        ("transfer(address,uint256)", [SHOP, 7], 7, LeafKind.TRANSFER),
        ("transferFrom(address,address,uint256)", [WALLET, SHOP, 7], 7, LeafKind.TRANSFER),
        ("transferAndCall(address,uint256,bytes)", [SHOP, 7, b"x"], 7, LeafKind.TRANSFER),
        ("approve(address,uint256)", [SHOP, 7], 7, LeafKind.ALLOWANCE),
        ("increaseAllowance(address,uint256)", [SHOP, 7], 7, LeafKind.ALLOWANCE),
        ("setApprovalForAll(address,bool)", [SHOP, True], UNLIMITED, LeafKind.ALLOWANCE),
    ],
)
def test_leaves__token_functions__count_with_their_amount(
    signature: str, arguments: list[Any], amount: int, kind: LeafKind
) -> None:
    found = called(TOKEN, abi_encode_call(signature, arguments))

    assert [(leaf.kind, leaf.token, leaf.to) for leaf in found.leaves] == [(kind, TOKEN, SHOP)]
    assert found.token(CHAIN, TOKEN) == amount
    assert (found.token(CHAIN, OTHER), found.token(OTHER_CHAIN, TOKEN), found.native()) == (0, 0, 0)


@pytest.mark.parametrize(
    ("signature", "arguments"),
    [
        ("decreaseAllowance(address,uint256)", [SHOP, 7]),
        ("setApprovalForAll(address,bool)", [SHOP, False]),
        ("approve(address,uint256)", [SHOP, 0]),
        (
            "permit(address,address,uint256,uint256,uint8,bytes32,bytes32)",
            [WALLET, SHOP, 7, 9, 27, b"\x01" * 32, b"\x01" * 32],
        ),
    ],
)
def test_leaves__what_takes_power_back_or_hands_in_a_permit__moves_nothing(
    signature: str, arguments: list[Any]
) -> None:
    assert called(TOKEN, abi_encode_call(signature, arguments)) == Leaves()


def test_leaves__permit2_calls__count_for_the_token_that_they_name() -> None:
    approve = abi_encode_call("approve(address,address,uint160,uint48)", [TOKEN, SHOP, 7, 9])
    one = abi_encode_call("transferFrom(address,address,uint160,address)", [WALLET, SHOP, 7, TOKEN])
    entries = [(WALLET, SHOP, 3, TOKEN), (WALLET, SHOP, 4, TOKEN), (WALLET, SHOP, 5, OTHER)]
    many = abi_encode_call("transferFrom((address,address,uint160,address)[])", [entries])

    for data in (approve, one, many):
        assert called(ACCOUNT, data).token(CHAIN, TOKEN) == 7
    assert called(ACCOUNT, many).token(CHAIN, OTHER) == 5


def test_leaves__permit2_in_a_form_that_can_be_read_in_two_ways__puts_every_token_in_doubt() -> None:
    data = abi_encode_call("approve(address,address,uint160,uint48)", [TOKEN, SHOP, 7, 9]) + b"\x00"

    assert called(ACCOUNT, data).token(CHAIN, TOKEN) is None


def test_leaves__native_coin__counts_for_calls_and_creations_alike() -> None:
    assert leaves_of(transaction(SHOP, 5)).native() == 5
    assert leaves_of(transaction(None, 5, b"\x60")).native() == 5
    assert called(TOKEN, transfer(3), value=5).native(CHAIN) == 5
    assert called(SHOP, b"\x12\x34\x56\x78", value=5).native(CHAIN) == 5
    assert leaves_of(transaction(SHOP, 5)).native(OTHER_CHAIN) == 0


@pytest.mark.parametrize("data", [b"\x12\x34\x56\x78", b"\x12", transfer(7) + b"\x00", transfer(7)[:-1]])
def test_leaves__an_unknown_call__puts_only_its_own_contract_in_doubt(data: bytes) -> None:
    found = called(TOKEN, data)

    assert found.token(CHAIN, TOKEN) is None
    assert (found.token(CHAIN, OTHER), found.native()) == (0, 0)


# --- wrappers ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Tree:
    """A call, and what it moves by a second, simpler account of it."""

    to: str
    value: int
    data: bytes
    native: int
    tokens: dict[str, int]
    depth: int = 0


def _sums(trees: list[Tree]) -> dict[str, int]:
    return {token: sum(tree.tokens.get(token, 0) for tree in trees) for token in (TOKEN, OTHER)}


amounts = st.integers(min_value=0, max_value=10**30)


@st.composite
def plain(draw: st.DrawFn) -> Tree:
    token, amount, value = draw(st.sampled_from([TOKEN, OTHER])), draw(amounts), draw(st.sampled_from([0, 1, 10**18]))
    kind = draw(st.sampled_from(["transfer", "approve", "coin"]))
    if kind == "coin":
        return Tree(SHOP, value, b"", value, {})
    return Tree(token, value, abi_encode_call(f"{kind}(address,uint256)", [SHOP, amount]), value, {token: amount})


def wrap(kind: str, trees: list[Tree], value: int) -> Tree:
    depth = 1 + max((tree.depth for tree in trees), default=0)
    native = max(value, sum(tree.native for tree in trees))
    first = trees[0]
    calls = [(tree.to, tree.value, tree.data) for tree in trees]
    made = {
        "account": lambda: abi_encode_call("execute(address,uint256,bytes)", [first.to, first.value, first.data]),
        "batch": lambda: abi_encode_call("executeBatch((address,uint256,bytes)[])", [calls]),
        "lists": lambda: abi_encode_call(
            "executeBatch(address[],uint256[],bytes[])", [list(part) for part in zip(*calls, strict=True)]
        ),
        "modular": lambda: abi_encode_call(
            "execute(bytes32,bytes)",
            [b"\x00" * 32, address_to_bytes(first.to) + first.value.to_bytes(32, "big") + first.data],  # type: ignore[arg-type]
        ),
        "modular batch": lambda: abi_encode_call(
            "execute(bytes32,bytes)", [b"\x01" + b"\x00" * 31, abi_encode(["(address,uint256,bytes)[]"], [calls])]
        ),
        "multicall3": lambda: abi_encode_call(
            "aggregate3Value((address,bool,uint256,bytes)[])", [[(to, True, v, data) for to, v, data in calls]]
        ),
        "safe": lambda: safe(first.to, first.value, first.data),
        "safe batch": lambda: safe(MULTI_SEND, 0, abi_encode_call("multiSend(bytes)", [packed(*calls)]), operation=1),
    }[kind]()
    moved = [first] if kind in ("account", "modular", "safe") else trees
    if moved is not trees:
        depth, native = 1 + first.depth, max(value, first.native)
    if kind == "safe batch":
        depth += 1
    return Tree(ACCOUNT, value, made, native, _sums(moved), depth)


KINDS = ["account", "batch", "lists", "modular", "modular batch", "multicall3", "safe", "safe batch"]
trees = st.recursive(
    plain(),
    lambda inner: st.builds(
        wrap, st.sampled_from(KINDS), st.lists(inner, min_size=1, max_size=3), st.sampled_from([0, 1, 10**18])
    ),
    max_leaves=12,
)


@given(tree=trees)
def test_leaves__calls_in_calls__move_the_same_as_by_themselves(tree: Tree) -> None:
    found = called(tree.to, tree.data, tree.value)

    if tree.depth > MAX_DEPTH:
        assert found.token(CHAIN, TOKEN) is None
        return
    assert found.doubts == ()
    assert found.native(CHAIN) == tree.native
    for token in (TOKEN, OTHER):
        assert found.token(CHAIN, token) == tree.tokens.get(token, 0)


@given(tree=trees, cut=st.integers(min_value=1, max_value=40))
def test_leaves__a_wrapper_that_is_cut_off__is_never_read_as_less(tree: Tree, cut: int) -> None:
    if not tree.depth:
        return

    found = called(tree.to, tree.data[:-cut], tree.value)

    assert found.token(CHAIN, TOKEN) is None
    assert found.native() is None or len(tree.data) - cut < 4


def test_leaves__multicall__calls_the_contract_itself() -> None:
    for signature, before in (("multicall(bytes[])", []), ("multicall(uint256,bytes[])", [9])):
        data = abi_encode_call(signature, [*before, [transfer(3), transfer(4)]])
        assert called(TOKEN, data).token(CHAIN, TOKEN) == 7


def test_leaves__a_safe_that_runs_unknown_code_or_pays_for_gas__puts_everything_in_doubt() -> None:
    for data in (
        safe(TOKEN, 0, transfer(7), operation=1),
        safe(TOKEN, 0, transfer(7), operation=2),
        safe(TOKEN, 0, transfer(7), gas_price=1),
        safe(ACCOUNT, 0, abi_encode_call("multiSend(bytes)", [packed((TOKEN, 0, transfer(7)))]), operation=1),
        safe(MULTI_SEND, 0, abi_encode_call("multiSend(bytes)", [packed((TOKEN, 0, transfer(7)))[:-1]]), operation=1),
        abi_encode_call("execute(bytes32,bytes)", [b"\xff" + b"\x00" * 31, address_to_bytes(TOKEN) + transfer(7)]),  # type: ignore[arg-type]
    ):
        found = called(ACCOUNT, data)
        assert (found.native(), found.token(CHAIN, TOKEN), found.token(CHAIN, OTHER)) == (None, None, None)
        assert found.native(OTHER_CHAIN) == 0


@pytest.mark.parametrize("data", [b"\x12\x34\x56\x78", transfer(7)])
def test_leaves__an_account_that_calls_itself__puts_everything_in_doubt(data: bytes) -> None:
    """The code that it delegates to may do anything with what it has; a Safe takes on owners and modules like this."""
    wrapped = abi_encode_call("execute(address,uint256,bytes)", [ACCOUNT, 0, data])

    for found in (called(WALLET, data), called(ACCOUNT, wrapped), called(ACCOUNT, safe(ACCOUNT, 0, data))):
        assert (found.native(), found.token(CHAIN, OTHER)) == (None, None)
    assert called(WALLET, abi_encode_call("execute(address,uint256,bytes)", [TOKEN, 0, transfer(7)])).doubts == ()
    assert called(WALLET, b"", value=3).native() == 3


def test_leaves__too_many_or_too_deep__puts_everything_in_doubt() -> None:
    calls = [(SHOP, 1, b"")] * MAX_CALLS
    batch = abi_encode_call("executeBatch((address,uint256,bytes)[])", [calls])
    deep = transfer(7)
    for _ in range(MAX_DEPTH + 1):
        deep = abi_encode_call("execute(address,uint256,bytes)", [TOKEN, 0, deep])

    assert called(ACCOUNT, batch).native() is None
    assert called(ACCOUNT, deep).token(CHAIN, TOKEN) is None


def test_leaves__value_that_comes_along__is_not_counted_twice() -> None:
    inner = [(SHOP, True, 3, b""), (SHOP, True, 4, b"")]
    data = abi_encode_call("aggregate3Value((address,bool,uint256,bytes)[])", [inner])

    assert called(ACCOUNT, data, value=7).native() == 7
    assert called(ACCOUNT, data, value=9).native() == 9
    assert called(ACCOUNT, data).native() == 7


# --- signatures -------------------------------------------------------------------------------------------------------

PERMIT = {"Permit": "address owner, address spender, uint256 value, uint256 nonce, uint256 deadline"}
PERMIT_MESSAGE = {"owner": WALLET, "spender": SHOP, "value": "7", "nonce": "0", "deadline": "9"}
DETAILS = {"PermitDetails": "address token, uint160 amount, uint48 expiration, uint48 nonce"}
PERMISSIONS = {"TokenPermissions": "address token, uint256 amount"}
TERMS = {"spender": SHOP, "nonce": "0", "deadline": "9"}


def _details(token: str, amount: int) -> dict[str, Any]:
    return {"token": token, "amount": str(amount), "expiration": "9", "nonce": "0"}


def test_leaves__permits_and_authorizations__count_like_transfers() -> None:
    authorization = "address from, address to, uint256 value, uint256 validAfter, uint256 validBefore, bytes32 nonce"
    signed = {
        "from": WALLET,
        "to": SHOP,
        "value": "7",
        "validAfter": "0",
        "validBefore": "9",
        "nonce": "0x" + "01" * 32,
    }

    assert typed("Permit", PERMIT, PERMIT_MESSAGE).token(CHAIN, TOKEN) == 7
    for name in ("TransferWithAuthorization", "ReceiveWithAuthorization"):
        assert typed(name, {name: authorization}, signed).token(CHAIN, TOKEN) == 7
    dai = {"Permit": "address holder, address spender, uint256 nonce, uint256 expiry, bool allowed"}
    message = {"holder": WALLET, "spender": SHOP, "nonce": "0", "expiry": "0"}
    assert typed("Permit", dai, {**message, "allowed": True}).token(CHAIN, TOKEN) == UNLIMITED
    assert typed("Permit", dai, {**message, "allowed": False}).token(CHAIN, TOKEN) == 0


def test_leaves__permit2__counts_every_token_that_it_names() -> None:
    single = {"PermitSingle": "PermitDetails details, address spender, uint256 sigDeadline", **DETAILS}
    batch = {"PermitBatch": "PermitDetails[] details, address spender, uint256 sigDeadline", **DETAILS}
    terms = {"spender": SHOP, "sigDeadline": "9"}

    assert typed("PermitSingle", single, {"details": _details(OTHER, 7), **terms}).token(CHAIN, OTHER) == 7
    both = typed(
        "PermitBatch", batch, {"details": [_details(OTHER, 7), _details(TOKEN, 3), _details(OTHER, 1)], **terms}
    )
    assert (both.token(CHAIN, OTHER), both.token(CHAIN, TOKEN)) == (8, 3)


@pytest.mark.parametrize("is_witnessed", [False, True])
@pytest.mark.parametrize("is_batch", [False, True])
def test_leaves__transfers_by_signature__count_with_and_without_a_witness(is_batch: bool, is_witnessed: bool) -> None:
    name = f"Permit{'Batch' if is_batch else ''}{'Witness' if is_witnessed else ''}TransferFrom"
    members = f"TokenPermissions{'[]' if is_batch else ''} permitted, address spender, uint256 nonce, uint256 deadline"
    entry = {"token": OTHER, "amount": "7"}
    message: dict[str, Any] = {"permitted": [entry, entry] if is_batch else entry, **TERMS}
    types = {name: members, **PERMISSIONS}
    if is_witnessed:
        types |= {name: members + ", Limit witness", "Limit": "uint256 least"}
        message["witness"] = {"least": "5"}

    assert typed(name, types, message).token(CHAIN, OTHER) == (14 if is_batch else 7)


def test_leaves__what_owners_of_a_safe_sign__is_unwrapped() -> None:
    types = {
        "SafeTx": "address to, uint256 value, bytes data, uint8 operation, uint256 safeTxGas, uint256 baseGas, "
        "uint256 gasPrice, address gasToken, address refundReceiver, uint256 nonce"
    }
    numbers = dict.fromkeys(("safeTxGas", "baseGas", "gasPrice", "nonce"), "0")
    rest = {**numbers, "gasToken": ZERO, "refundReceiver": ZERO}
    message = {"to": TOKEN, "value": "3", "data": "0x" + transfer(7).hex(), "operation": "0", **rest}

    found = typed("SafeTx", types, message, name=None, verifyingContract=ACCOUNT)
    assert (found.native(), found.token(CHAIN, TOKEN)) == (3, 7)
    assert typed("SafeTx", types, {**message, "operation": "1"}, name=None, verifyingContract=ACCOUNT).native() is None


def test_leaves__typed_data_that_is_not_known_or_bound__puts_everything_on_its_chain_in_doubt() -> None:
    unknown = typed("Vote", {"Vote": "uint256 proposal"}, {"proposal": "1"})
    assert (unknown.native(CHAIN), unknown.native(), unknown.token(CHAIN, TOKEN)) == (None, None, None)
    assert unknown.native(OTHER_CHAIN) == 0

    unbound = typed("Permit", PERMIT, PERMIT_MESSAGE, verifyingContract=None)
    assert unbound.token(CHAIN, TOKEN) is None
    lookalike = {"Permit": PERMIT["Permit"].replace("uint256 value", "uint128 value")}
    assert typed("Permit", lookalike, PERMIT_MESSAGE).token(CHAIN, TOKEN) is None


def test_leaves__a_permit_without_a_chain__counts_on_every_chain() -> None:
    found = typed("Permit", PERMIT, PERMIT_MESSAGE, chainId=None)

    assert (found.token(CHAIN, TOKEN), found.token(OTHER_CHAIN, TOKEN)) == (7, 7)


def test_leaves__messages__move_nothing_unless_they_are_a_bare_hash() -> None:
    assert leaves_of(view_message(b"Sign in to the shop", WALLET)) == Leaves()  # type: ignore[arg-type]
    assert leaves_of(view_message(b"\x17" * 32, WALLET)).native() is None  # type: ignore[arg-type]
