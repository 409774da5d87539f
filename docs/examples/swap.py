"""A swap on the devnet: Alice sells 1,000 ALPHA on one chain for BETA on the other one, and Bob takes her order.

Run it while `lockstep up` runs: python docs/examples/swap.py [folder of the devnet]
"""

import json
import secrets
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from lockstep.client import (
    AdminCredentials,
    AppCredentials,
    Client,
    Deposits,
    Destination,
    PriceCurve,
    ProblemError,
    SwapOrder,
    TimeLocks,
    UserCredentials,
    Wallet,
    hashlock,
    order_typed_data,
)

FOLDER = Path(sys.argv[1] if len(sys.argv) > 1 else ".lockstep/devnet")
DEVNET = json.loads((FOLDER / "summary.json").read_text())
SOURCE, DESTINATION = DEVNET["chains"]
ALPHA, BETA = SOURCE["token"], DESTINATION["token"]

DEPOSIT = 10**15  # wei; a taker puts it down in each escrow and gets it back
SOLD, LEAST = 1_000 * 10 ** ALPHA["decimals"], 2_000 * 10 ** BETA["decimals"]
SECONDS = TimeLocks(  # for chains with blocks of a second; real ones need hours
    source_withdrawal=3,
    source_public_withdrawal=70,
    source_cancellation=110,
    source_public_cancellation=120,
    destination_withdrawal=3,
    destination_public_withdrawal=40,
    destination_cancellation=60,
)
LOCK = ["0xfda82392", "0x514e22ca"]  # createSource, createDestination of the factory
CLAIM = ["0x4b9fe53e", "0xb0199678"]  # withdraw, cancel of an escrow


def main() -> None:
    admin = Client(f"http://127.0.0.1:{DEVNET['http_port']}", AdminCredentials(read("keys/admin.credential")))
    made = admin.create_app("Swaps", [{name: DEVNET["issuer"][name] for name in ("issuer", "audience")}])
    app = AppCredentials(made.app.id, made.secret)
    alice = admin.as_caller(UserCredentials(app, lockstep("token", "alice")))
    bob = admin.as_caller(UserCredentials(app, lockstep("token", "bob")))

    print("· wallets, policies, funds")
    alices = new_wallet(alice, "Alice", [approve_rule(SOURCE), order_rule()])
    bobs = new_wallet(bob, "Bob", [approve_rule(DESTINATION), *lock_rules()])
    approvals = [(alice, approve(alice, alices, SOURCE)), (bob, approve(bob, bobs, DESTINATION))]
    for client, transaction in approvals:
        assert client.wait_transaction(transaction).state == "final"
    # Lockstep may send the legs of Bob's swaps for him: a session signer inside his policies, for an hour.
    bob.create_session_signer(
        bobs.id,
        grantee="module:coordinator",
        allowed_methods=["eth_sendTransaction"],
        expires_at=datetime.now(UTC) + timedelta(hours=1),
    )

    secret = secrets.token_bytes(32)  # stays here until both escrows stand
    order = new_order(alices.address, secret)
    typed = order_typed_data(order, chain_id(SOURCE), SOURCE["escrow_factory"])
    signature = alice.sign_typed_data(alices.id, typed)
    posted = alice.post_order(order, signature, source_chain=SOURCE["chain"], source_factory=SOURCE["escrow_factory"])
    price = alice.get_price(posted.hash)
    print(f"· order {posted.hash[:18]}… is {posted.state}, now {words(price.destination_amount, BETA)}")

    swap = bob.fill_order(posted.hash, mode="managed", wallet_id=bobs.id)
    print(f"· Bob took it at {words(swap.destination.amount, BETA)}: swap {swap.id}")

    # Real makers compare both escrows with what they signed, on their own nodes: docs/guide/swaps.md.
    swap = alice.wait_for(lambda: alice.get_swap(swap.id), lambda seen: submit(alice, posted.hash, secret, seen.state))
    ended = alice.wait_swap(swap.id)
    for entry in alice.get_swap_timeline(swap.id):
        print(f"  {entry.at:%H:%M:%S}  {entry.what:12} {entry.name:24} {entry.detail or ''}")
    print(f"· {ended.state}: {ended.reason}")
    assert ended.state == "settled"


def new_wallet(user: Client, name: str, rules: list[dict[str, object]]) -> Wallet:
    document = {"version": "1.0", "name": name, "chain_type": "ethereum", "rules": rules}
    wallet = user.create_wallet(policy_ids=[user.create_policy(document).id], display_name=name)
    lockstep("fund", wallet.address)
    return wallet


def new_order(maker: str, secret: bytes) -> SwapOrder:
    now = int(datetime.now(UTC).timestamp())
    return SwapOrder(
        maker=maker,
        source_token=ALPHA["address"],
        source_amount=SOLD,
        destination=Destination(
            chain=DESTINATION["chain"],
            factory=raw(DESTINATION["escrow_factory"]),
            token=raw(BETA["address"]),
            receiver=raw(maker),
        ),
        # A Dutch auction: 5 % above the least price at first, falling to it within a minute.
        price=PriceCurve(start_time=now - 5, duration=60, end_amount=LEAST, initial_rate_bump=500_000),
        deposits=Deposits(source=DEPOSIT, destination=DEPOSIT),
        time_locks=SECONDS,
        hashlock_info=hashlock(secret),
        nonce=secrets.randbits(256),
        expiry=now + 600,
    )


def submit(alice: Client, order_hash: str, secret: bytes, state: str) -> bool:
    """Reveal the secret as soon as Lockstep may take it; True when there is nothing left to wait for."""
    if state != "both_final":
        return state in ("refunded", "failed")
    try:
        alice.submit_secret(order_hash, secret)
    except ProblemError as problem:
        if problem.code != "secret_too_early":
            raise
        return False
    return True


# --- policies ---------------------------------------------------------------------------------------------------------


def allow(name: str, chain: dict[str, str], *conditions: dict[str, object]) -> dict[str, object]:
    on_chain = condition("chain_id", "eq", str(chain_id(chain)))
    return {
        "name": name,
        "method": "eth_sendTransaction",
        "action": "ALLOW",
        "conditions": [on_chain, *conditions],
    }


def approve_rule(chain: dict[str, dict[str, str]]) -> dict[str, object]:
    inputs = [{"name": "spender", "type": "address"}, {"name": "amount", "type": "uint256"}]
    abi = [{"type": "function", "name": "approve", "inputs": inputs}]
    spender = condition("approve.spender", "eq", chain["escrow_factory"], "ethereum_calldata")
    return allow(
        "The factory may take tokens",
        chain,
        condition("to", "eq", chain["token"]["address"]),
        condition("value", "eq", "0"),
        {**spender, "abi": abi},
    )


def order_rule() -> dict[str, object]:
    source = "ethereum_typed_data_domain"
    return {
        "name": "Sign orders of this factory",
        "method": "eth_signTypedData_v4",
        "action": "ALLOW",
        "conditions": [
            condition("chain_id", "eq", str(chain_id(SOURCE)), source),
            condition("verifying_contract", "eq", SOURCE["escrow_factory"], source),
        ],
    }


def lock_rules() -> list[dict[str, object]]:
    rules = []
    for chain in (SOURCE, DESTINATION):
        factory, deposit = condition("to", "eq", chain["escrow_factory"]), condition("value", "lte", str(DEPOSIT))
        rules.append(allow("Lock", chain, factory, deposit, condition("function_selector", "in", LOCK)))
        rules.append(allow("Claim", chain, condition("value", "eq", "0"), condition("function_selector", "in", CLAIM)))
    return rules


def condition(field: str, operator: str, value: object, source: str = "ethereum_transaction") -> dict[str, object]:
    return {"field_source": source, "field": field, "operator": operator, "value": value}


# --- small things -----------------------------------------------------------------------------------------------------


def approve(user: Client, wallet: Wallet, chain: dict[str, dict[str, str]]) -> str:
    call = raw("0x095ea7b3") + raw(chain["escrow_factory"]).rjust(32, b"\0") + (2**256 - 1).to_bytes(32, "big")
    return user.send_transaction(wallet.id, chain["chain"], to=chain["token"]["address"], data=call)


def lockstep(*arguments: str) -> str:
    program = Path(sys.executable).with_name("lockstep")
    command = [program, "devnet", *arguments, "--folder", str(FOLDER)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def read(name: str) -> str:
    return (FOLDER / name).read_text().strip()


def chain_id(chain: dict[str, str]) -> int:
    return int(chain["chain"].partition(":")[2])


def raw(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))


def words(amount: int, token: dict[str, object]) -> str:
    return f"{Decimal(amount).scaleb(-token['decimals']):,f} {token['symbol']}"


main()
