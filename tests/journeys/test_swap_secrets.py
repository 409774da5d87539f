"""Before its legal release the secret of a swap is nowhere outside the maker's client; then its taker alone gets it.

One that the maker leaves with the deployment is nowhere in clear.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import pytest
from tests.journeys.support import SECOND, Caller, Deployment, Listener, until
from tests.journeys.traders import LONG_LOCKS, Market, shows

from lockstep.app.demo import external_maker, external_resolver
from lockstep.app.demo.swaps import Offer
from lockstep.client import ProblemError

LISTS = ("orders", "swaps", "transactions", "wallets", "policies", "audit/entries", "app", "caller")
TOPICS = ("orders", "escrows", "transactions", "swaps", "wallets")
SLOW_LOCKS = replace(LONG_LOCKS, source_withdrawal=25, destination_withdrawal=20)
"""Between the release and the first withdrawal there is time to look around."""


class Everything:
    """All that anybody outside the maker's client can see: database, logs, files, the stream, and every answer."""

    def __init__(self, deployment: Deployment, callers: dict[str, Caller], listeners: list[Listener]) -> None:
        self.deployment, self.callers, self.listeners = deployment, callers, listeners

    def dump(self) -> dict[str, str]:
        """Every row of every table, also those of the job engine, as text."""
        tables = self.deployment.rows(
            "select quote_ident(schemaname) || '.' || quote_ident(tablename) as name from pg_tables"
            " where schemaname not in ('pg_catalog', 'information_schema') order by 1"
        )
        found = {}
        with self.deployment.database() as connection:
            for table in tables:
                rows = connection.execute(f"select t::text as row from {table['name']} t").fetchall()
                found[table["name"]] = "\n".join(row["row"] for row in rows)
        return found

    def files(self) -> Iterator[tuple[str, bytes]]:
        """Every file of the deployment: logs of all parts, write-ahead log and tables of the database, settings."""
        for path in self.deployment.folder.rglob("*"):
            try:
                if path.is_file():
                    yield str(path), path.read_bytes()
            except OSError:
                continue  # a file of the database that was just removed

    def answers(self, made: Offer, swap_id: str) -> Iterator[tuple[str, str]]:
        """What every caller is answered, on every route that reads."""
        order = f"/v1/orders/{made.name}"
        paths = [f"/v1/{name}" for name in LISTS] + [order, order + "/price"]
        paths += [f"/v1/swaps/{swap_id}", f"/v1/swaps/{swap_id}/timeline", "/metrics"]
        for name, caller in self.callers.items():
            for path in paths:
                yield f"{name}: GET {path}", caller.raw("GET", path).text
            listed = caller.raw("GET", "/v1/transactions", params={"limit": "100"}).json()
            for row in listed.get("items", []):
                yield f"{name}: transaction {row['id']}", caller.raw("GET", f"/v1/transactions/{row['id']}").text

    def frames(self) -> str:
        return "\n".join(str(frame) for listener in self.listeners for frame in list(listener.frames))

    def check(self, made: Offer, swap_id: str) -> None:
        """The secret is in none of these."""
        places = [name for name, text in self.dump().items() if shows(made.secret, text)]
        places += [name for name, content in self.files() if shows(made.secret, content)]
        places += [name for name, text in self.answers(made, swap_id) if shows(made.secret, text)]
        places += ["the stream"] if shows(made.secret, self.frames()) else []
        assert not places


@contextmanager
def watching(market: Market) -> Iterator[Everything]:
    """Look with the eyes of every kind of caller, from now on."""
    deployment, cast = market.deployment, market.cast
    callers = {
        "app": market.caller(cast.app),
        "maker": market.caller(market.maker),
        "resolver": market.caller(market.resolver),
        "bot": market.caller(cast.bot),
        "foreign maker": market.caller(market.run(market.log_in(market.strangers.maker))),
        "foreign resolver": market.caller(market.run(market.log_in(market.strangers.resolver))),
        "another app": deployment.new_app("Curious"),
        "administrator": deployment.admin,
    }
    with ExitStack() as open_:
        listeners = []
        for name in ("app", "another app", "maker", "resolver"):
            # Swaps are told to apps, not to their users.
            topics = TOPICS if "app" in name else [topic for topic in TOPICS if topic != "swaps"]
            subscriptions = [{"topic": topic} for topic in topics]
            listeners.append(open_.enter_context(Listener(callers[name], *subscriptions)))
        for name in ("foreign maker", "foreign resolver"):
            subscriptions = [{"topic": topic} for topic in ("orders", "escrows")]
            listeners.append(open_.enter_context(Listener(callers[name], *subscriptions)))
        yield Everything(deployment, callers, listeners)


def only_taker_gets_it(everything: Everything, made: Offer, takers: set[str]) -> None:
    """Who asks for the secret after its release."""
    path = f"/v1/orders/{made.name}/fills/0/secret"
    for name, caller in everything.callers.items():
        answer = caller.raw("GET", path)
        if name in takers:
            assert (answer.status_code, answer.json()["secret"]) == (200, "0x" + made.secret.hex()), name
            assert answer.headers["cache-control"] == "no-store"
        else:
            assert answer.status_code in (401, 403, 404), (name, answer.text)
            assert not shows(made.secret, answer.text), name
    assert everything.deployment.anybody.raw("GET", path).status_code == 401


def refused_early(market: Market, everything: Everything, made: Offer, maker: Caller, swap_id: str) -> None:
    """A submission before the release is refused, and leaves no trace at all."""
    path, body = f"/v1/orders/{made.name}/secrets", {"fill_index": 0, "secret": "0x" + made.secret.hex()}
    maker.refused(409, "secret_too_early", "POST", path, body)
    maker.refused(422, "secret_mismatch", "POST", path, {**body, "secret": "0x" + made.secret[::-1].hex()})
    everything.check(made, swap_id)


@pytest.mark.timeout(300)
def test_secret__of_a_managed_swap__is_nowhere_before_its_release_and_then_its_takers_only(market: Market) -> None:
    with watching(market) as everything:
        market.deployment.ask("evm_setIntervalMining", 0)
        made = market.run(market.offer(time_locks=SLOW_LOCKS))
        swap = market.run(market.take(made))
        maker, resolver = everything.callers["maker"], everything.callers["resolver"]
        try:
            refused_early(market, everything, made, maker, swap.id)
        finally:
            market.deployment.ask("evm_setIntervalMining", 1)
        market.run(market.wait_state(market.resolver, swap.id, "both_final"))
        resolver.refused(409, "secret_not_released", "GET", f"/v1/orders/{made.name}/fills/0/secret")
        everything.check(made, swap.id)

        _, locked = market.run(external_maker.wait_for_locks(made.order, made.hash, *market.nodes))
        market.run(external_maker.release_secret(market.maker, made.hash, made.secret, market.nodes[1], locked))
        only_taker_gets_it(everything, made, {"resolver", "app", "bot"})
        frames = everything.frames()
        seen = [name for name, text in everything.answers(made, swap.id) if shows(made.secret, text)]
        effects = market.run(market.effects(made.hash))
        assert effects["destination EscrowWithdrawal"] == 0, "the chain showed it before the test had looked"
        assert (seen, shows(made.secret, frames)) == ([], False)
        settled = market.run(market.maker.wait_swap(swap.id, 120))
        assert settled.state == "settled"
        # Whoever looks so would have found it: now that it is public it is there.
        assert any(shows(made.secret, text) for text in everything.dump().values())
        assert all(made.name in str(listener.frames) for listener in everything.listeners)
        assert not shows(made.secret, everything.frames(), market.deployment.logs())


def _is_pool_filled(market: Market) -> bool:
    return int(market.deployment.ask("txpool_status", chain=SECOND)["pending"], 16) > 0


@pytest.mark.timeout(300)
def test_secret__left_with_the_deployment__is_nowhere_in_clear_before_its_release(market: Market) -> None:
    with watching(market) as everything:
        made = market.run(market.offer(time_locks=SLOW_LOCKS))
        path, body = f"/v1/orders/{made.name}/fills/0/held-secret", {"secret": "0x" + made.secret.hex()}
        for name in ("resolver", "foreign maker", "another app"):
            everything.callers[name].refused(403, "not_the_maker", "PUT", path, body)
            everything.callers[name].refused(403, "not_the_maker", "DELETE", path)
        held = market.run(market.maker.hold_secret(made.name, made.secret))
        market.run(market.maker.take_back_secret(made.name))
        assert market.run(market.maker.hold_secret(made.name, made.secret)).held_at >= held.held_at
        market.deployment.ask("evm_setIntervalMining", 0, chain=SECOND)
        swap = market.run(market.take(made))
        try:
            # Both escrows stand, and the destination is not final before its chain goes on.
            until(lambda: _is_pool_filled(market), "the destination lock to be in its node's pool")
            market.deployment.mine(chain=SECOND)
            market.run(market.wait_state(market.resolver, swap.id, "destination_locked"))
            everything.check(made, swap.id)
            assert market.run(market.resolver.get_swap(swap.id)).state == "destination_locked"
        finally:
            market.deployment.ask("evm_setIntervalMining", 1, chain=SECOND)
        settled = market.run(market.resolver.wait_swap(swap.id, 120))
        assert settled.state == "settled", "nobody had to be there for the maker"
        only_taker_gets_it(everything, made, {"resolver", "app", "bot"})
        assert not shows(made.secret, everything.frames(), market.deployment.logs())


@pytest.mark.timeout(300)
def test_secret__of_strangers__is_nowhere_before_its_release_and_then_its_takers_only(market: Market) -> None:
    strangers, nodes = market.strangers, market.nodes

    async def post() -> Offer:
        order, secret = await market.order(strangers.maker.address)
        await external_maker.post_order(maker, strangers.maker, order, nodes[0])
        return Offer(order, market.hash(order), secret)

    with watching(market) as everything:
        maker = market.run(market.log_in(strangers.maker))
        resolver = market.run(market.log_in(strangers.resolver))
        made = market.run(post())
        seen = market.run(external_resolver.register(resolver, strangers.resolver, made.name, nodes[0]))
        swap_id = market.run(resolver.get_order(made.name)).fills[0].swap_id
        refused_early(market, everything, made, everything.callers["foreign maker"], swap_id)
        on_source = market.run(external_resolver.lock_source(strangers.resolver, seen, *nodes))
        market.run(market.wait_state(maker, swap_id, "destination_locking"))
        refused_early(market, everything, made, everything.callers["foreign maker"], swap_id)
        market.run(nodes[1].approve(strangers.resolver, market.cast.sides[1].token, 2 * made.order.price.end_amount))
        on_destination = market.run(external_resolver.lock_destination(strangers.resolver, seen, on_source, nodes[1]))
        market.run(market.wait_state(maker, swap_id, "both_final"))
        everything.check(made, swap_id)

        market.run(external_maker.release_secret(maker, made.hash, made.secret, nodes[1], on_destination))
        only_taker_gets_it(everything, made, {"foreign resolver"})
        shown = [name for name, text in everything.answers(made, swap_id) if shows(made.secret, text)]
        assert (shown, shows(made.secret, everything.frames(), market.deployment.logs())) == ([], False)

        async def claim() -> str:
            released = await external_resolver.wait_for_secret(resolver, seen, nodes[1], on_destination)
            assert released == made.secret
            await external_resolver.claim(strangers.resolver, released, nodes[0], on_source, nodes[1], on_destination)
            return (await maker.wait_swap(swap_id, 120)).state

        assert market.run(claim()) == "settled"
        with pytest.raises(ProblemError, match="not_a_party"):
            market.run(maker.get_secret(made.name))
        assert not shows(made.secret, market.deployment.logs())


def test_forms__of_a_secret__are_found_wherever_they_stand() -> None:
    secret = bytes(range(32))
    for text in (secret.hex(), secret.hex().upper(), f"x{int.from_bytes(secret, 'big')}y"):
        assert shows(secret, text)
    assert shows(secret, b"..." + secret + b"...")
    assert not shows(secret, secret.hex()[:-1], b"")
