"""The actors: an app, two users, their wallets with policies, and the sessions that bot and coordinator work through."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from lockstep.app.demo import policies
from lockstep.app.demo.chain import Side
from lockstep.app.demo.report import Report
from lockstep.app.devnet.issuer import AUDIENCE
from lockstep.app.stack import Stack
from lockstep.chains.evm import Address, Contract
from lockstep.client import AdminCredentials, AppCredentials, AsyncClient, SessionCredentials, UserCredentials, Wallet
from lockstep.kit.clock import SystemClock

COINS = 10 * 10**18
PAYEE = "0x000000000000000000000000000000000000bea7"
MOST_PAYMENT = 5 * 10**17
_TOKEN = Contract.load("DemoToken")


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """A user with a wallet; `client` acts as the user."""

    client: AsyncClient
    wallet: Wallet


@dataclass(frozen=True, slots=True, kw_only=True)
class Cast:
    """Everybody who plays."""

    app: AsyncClient
    app_credentials: AppCredentials
    maker: Actor
    resolver: Actor
    bot: AsyncClient
    """Acts through the resolver's session signer."""
    bot_token: str
    coordinator_session: str
    """Session signer that the resolver granted to Lockstep's coordinator, for managed swaps."""
    sides: tuple[Side, Side]


async def assemble(stack: Stack, report: Report) -> Cast:
    """Make the actors through the public API and fund them from the devnet."""
    report.act("1 · An app, two users, wallets under policies on two chains")
    sides = _sides(stack)
    source, destination = sides
    devnet = stack.devnet
    async with AsyncClient(stack.url, AdminCredentials(stack.admin_credential)) as admin:
        made = await admin.create_app(
            "Demo", [{"issuer": devnet.issuer.issuer, "audience": AUDIENCE, "jwks": devnet.issuer.key_set()}]
        )
    credentials = AppCredentials(made.app.id, made.secret)
    app = AsyncClient(stack.url, credentials)
    maker = app.as_caller(UserCredentials(credentials, devnet.issuer.issue_token("maker")))
    resolver = app.as_caller(UserCredentials(credentials, devnet.issuer.issue_token("resolver")))

    by_chain = {side.chain: (str(side.factory), str(side.token)) for side in sides}
    maker_policy = await maker.create_policy(
        policies.wallet_of_maker(
            chain=source.chain, token=source.token, factory=source.factory, payee=PAYEE, most_wei=MOST_PAYMENT
        )
    )
    resolver_policy = await resolver.create_policy(policies.wallet_of_resolver(sides=by_chain, friend=PAYEE))
    session_policy = await resolver.create_policy(policies.session_of_bot(sides=by_chain))
    maker_wallet = await maker.create_wallet(policy_ids=[maker_policy.id], display_name="maker")
    resolver_wallet = await resolver.create_wallet(policy_ids=[resolver_policy.id], display_name="resolver")
    report.happened(f"maker's wallet {maker_wallet.address}, resolver's wallet {resolver_wallet.address}")

    expires_at = SystemClock().now() + timedelta(hours=1)
    granted = [
        await resolver.create_session_signer(
            resolver_wallet.id,
            expires_at=expires_at,
            allowed_methods=["eth_sendTransaction"],
            policy_ids=[session_policy.id],
            max_value_per_transaction=policies.DEPOSIT,
            grantee=grantee,
            display_name=name,
        )
        for grantee, name in (("token", "bot"), ("module:coordinator", "managed swaps"))
    ]
    bot_token = granted[0].token or ""
    for side in sides:
        for wallet in (maker_wallet, resolver_wallet):
            await devnet.fund(side.chain, Address(wallet.address.lower()), COINS)
    await devnet.mint(source.chain, Address(maker_wallet.address.lower()), source.amount(10_000))
    await devnet.mint(destination.chain, Address(resolver_wallet.address.lower()), destination.amount(10_000))
    seen = {
        (await side.coins_of(wallet.address), side.chain)
        for side in sides
        for wallet in (maker_wallet, resolver_wallet)
    }
    report.claim(
        "each wallet is one address on both chains, funded on both", {coins for coins, _ in seen} == {COINS}, seen=seen
    )
    bot = app.as_caller(SessionCredentials(bot_token))
    caller = await bot.get_caller()
    report.claim(
        "the bot acts through a session signer of the resolver's wallet, with a narrower policy",
        caller.kind == "session" and caller.wallet_id == resolver_wallet.id,
        seen=caller,
    )
    return Cast(
        app=app,
        app_credentials=credentials,
        maker=Actor(client=maker, wallet=maker_wallet),
        resolver=Actor(client=resolver, wallet=resolver_wallet),
        bot=bot,
        bot_token=bot_token,
        coordinator_session=granted[1].session_signer.id,
        sides=sides,
    )


async def approve_factories(cast: Cast, report: Report) -> None:
    """Let each factory take the tokens that its side sells; under policy, like everything."""
    wanted = ((cast.maker, cast.sides[0]), (cast.resolver, cast.sides[1]))
    sent = [
        await actor.client.send_transaction(
            actor.wallet.id,
            side.chain,
            to=side.token,
            data=_TOKEN.encode("approve", (side.factory, 2**256 - 1)),
        )
        for actor, side in wanted
    ]
    ended = [await actor.client.wait_transaction(each) for (actor, _), each in zip(wanted, sent, strict=True)]
    report.claim(
        "maker and resolver approved the factory of their chain, final",
        all(each.state == "final" and each.succeeded for each in ended),
        seen=[each.state for each in ended],
    )


def _sides(stack: Stack) -> tuple[Side, Side]:
    first, second = (
        Side(node, at.factory, at.token.address, at.token.symbol, at.token.decimals)
        for node, at in zip(stack.devnet.chains, stack.devnet.deployments, strict=True)
    )
    return first, second
