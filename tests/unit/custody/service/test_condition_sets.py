"""Condition sets: written in one form, looked up by decisions, never loosened by what changes or goes missing meanwhile."""

from __future__ import annotations

import asyncio
from typing import Any

import psycopg
import pytest
from tests.support.custody import ALICE, BOB, CHAIN, GWEI, World, message, pure, send

from lockstep.chains.evm import UnsignedTransaction, to_checksum
from lockstep.custody import (
    ConditionSetService,
    OwnerRequired,
    PolicyDenied,
    PolicyInvalid,
    PreviewOutdated,
    Principal,
    SignedTransaction,
    TransactionIntent,
    Wallet,
)
from lockstep.custody.condition_sets import SetShelf, store
from lockstep.custody.condition_sets.errors import (
    ConditionSetFull,
    ConditionSetInUse,
    ConditionSetInvalid,
    ConditionSetItemNotFound,
    ConditionSetNotFound,
)
from lockstep.custody.condition_sets.shelf import sealed_content
from lockstep.custody.condition_sets.types import content_hash
from lockstep.custody.policy import SetType
from lockstep.custody.policy.trace import Holds
from lockstep.custody.seals import AuthorityTampered, Kind
from lockstep.kit.ids import new_id

MISSING = "00000000-0000-7000-8000-0000000000ff"


@pytest.fixture
def sets(world: World) -> ConditionSetService:
    return ConditionSetService(world.database, world.audit, world.seals, world.clock)


def looks_up(
    set_id: str, operator: str = "in_condition_set", field: str = "to", action: str = "ALLOW"
) -> dict[str, Any]:
    condition = {"field_source": "ethereum_transaction", "field": field, "operator": operator, "value": set_id}
    return {"method": "*", "action": action, "conditions": [condition]}


EVERYTHING = {"method": "*", "action": "ALLOW", "conditions": [], "unconditional": True}


def document(*rules: dict[str, Any]) -> dict[str, Any]:
    return {"version": "1.0", "name": "p", "chain_type": "ethereum", "rules": list(rules)}


async def user(world: World, app: Principal, number: int) -> Principal:
    return await world.user(app, str(number))


async def decided(world: World, app: Principal, wallet: Wallet, to: str = BOB) -> str:
    intent = TransactionIntent(
        app_id=wallet.app_id,
        wallet_id=wallet.id,
        chain=CHAIN,
        from_address=wallet.address,
        to=to,
        value=1,
        data=b"",
        gas_limit=21_000,
        max_fee_per_gas=2 * GWEI,
        max_priority_fee_per_gas=GWEI,
        idempotency_key=new_id(),
    )
    async with world.database.tenant(app.tenant) as uow:
        return (await world.custody.decide_transaction(uow, app, wallet, intent)).id


QUEUED = UnsignedTransaction(
    chain_id=31337,
    nonce=0,
    to=BOB,
    value=1,
    data=b"",
    gas_limit=21_000,
    max_fee_per_gas=2 * GWEI,
    max_priority_fee_per_gas=GWEI,
)


# --- items ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value_type", "written", "compared"),
    [
        (SetType.ADDRESS, to_checksum(BOB), BOB),
        (SetType.SELECTOR, "0xA9059CBB", "0xa9059cbb"),
        (SetType.INTEGER, "0x1F", "31"),
        (SetType.INTEGER, "-7", "-7"),
        (SetType.STRING, "Straße ", "Straße "),
    ],
)
async def test_create__value_of_each_type__is_compared_in_one_form_and_shown_as_written(
    world: World, sets: ConditionSetService, value_type: SetType, written: str, compared: str
) -> None:
    app = await world.app()
    made = await sets.create(app, "s", value_type, values=[written, compared])

    (item,) = (await sets.list_items(app, made.id)).items
    assert (item.original, item.value, made.item_count) == (written, compared, 1)
    assert made.content_hash == content_hash(value_type, [compared])
    assert await sets.get_item(app, made.id, item.id) == item


@pytest.mark.parametrize(
    ("value_type", "value"),
    [
        (SetType.ADDRESS, "0x12"),
        (SetType.ADDRESS, "0x" + "Aa" * 20),  # mixed case with a wrong checksum
        (SetType.SELECTOR, "0xa9059c"),
        (SetType.SELECTOR, "transfer"),
        (SetType.INTEGER, "1.0"),
        (SetType.INTEGER, "007"),
        (SetType.INTEGER, "1e3"),
        (SetType.INTEGER, str(2**256)),
        (SetType.STRING, ""),
        (SetType.STRING, "x" * 501),
        (SetType.STRING, "a\x00b"),
    ],
)
async def test_add_items__value_of_another_type__is_refused_with_its_path_and_adds_nothing(
    world: World, sets: ConditionSetService, value_type: SetType, value: str
) -> None:
    app = await world.app()
    made = await sets.create(app, "s", value_type)
    good = {SetType.ADDRESS: BOB, SetType.SELECTOR: "0xa9059cbb"}.get(value_type, "5")

    with pytest.raises(ConditionSetInvalid) as refused:
        await sets.add_items(app, made.id, [good, value])
    assert [fault["path"] for fault in refused.value.fields["faults"]] == ["[1].value"]  # type: ignore[attr-defined]
    assert await sets.get(app, made.id) == made


async def test_items__added_replaced_and_taken_out__count_revisions_and_stand_in_the_audit_log(
    world: World, sets: ConditionSetService
) -> None:
    app = await world.app()
    made = await sets.create(app, "s", SetType.INTEGER, values=["1", "2"])
    added = await sets.add_items(app, made.id, ["2", "0x3", "3"])
    again = await sets.add_items(app, made.id, ["1", "2", "3"])
    replaced = await sets.replace_items(app, made.id, ["3", "9", "4"])
    await sets.delete_item(app, made.id, next(item.id for item in replaced if item.value == "9"))
    with pytest.raises(ConditionSetItemNotFound):
        await sets.delete_item(app, made.id, next(item.id for item in again if item.value == "1"))
    await sets.update(app, made.id, name="t")
    now = await sets.get(app, made.id)

    assert [item.value for item in added] == ["2", "3"]
    assert [item.value for item in again] == ["1", "2", "3"]
    assert (now.revision, now.item_count, now.name) == (4, 2, "t")
    assert now.content_hash == content_hash(SetType.INTEGER, ["3", "4"])
    entries = (await world.custody.list_audit_entries(app, resource=f"condition_set:{made.id}")).items
    records = [entry.record for entry in reversed(entries)]
    assert [record.count('"action":"condition_set.changed"') for record in records] == [0, 1, 1, 1, 0]
    assert now.content_hash.hex() in records[-1]


async def test_list_items__pages_and_a_part_of_the_value__finds_all_in_order(
    world: World, sets: ConditionSetService
) -> None:
    app = await world.app()
    made = await sets.create(app, "s", SetType.STRING, values=[f"Item {number}" for number in range(25)])

    first = await sets.list_items(app, made.id, query="item 1", limit=10)
    rest = await sets.list_items(app, made.id, query="item 1", cursor=first.next_cursor)

    found = [item.value for item in (*first.items, *rest.items)]
    assert found == ["Item 1", *[f"Item {number}" for number in range(10, 20)]]
    assert (await sets.list_items(app, made.id, query="%")).items == []


async def test_add_items__above_the_most_items__adds_nothing(world: World, sets: ConditionSetService) -> None:
    app = await world.app()
    made = await sets.create(app, "s", SetType.INTEGER)
    async with world.database.tenant(app.tenant) as uow:
        await uow.execute(
            "insert into condition_set_items (id, app_id, set_id, value, original, created_at)"
            " select 'i' || n, %s, %s, n, n, now() from generate_series(1, 99999) n",
            (app.tenant, made.id),
        )
        grown = await store.count_revision(uow, made, made.updated_at)
        await world.seals.change(
            uow, app.tenant, Kind.CONDITION_SET, made.id, sealed_content(made), sealed_content(grown)
        )
    await sets.delete_item(app, made.id, "i7")
    await sets.add_items(app, made.id, ["-1", "-2"])

    with pytest.raises(ConditionSetFull):
        await sets.add_items(app, made.id, ["-3"])
    full = await sets.get(app, made.id)
    assert (full.item_count, full.revision) == (100_000, 4)
    await sets.replace_items(app, made.id, ["5"])
    assert (await sets.get(app, made.id)).item_count == 1


async def test_add_items__many_at_once__lose_nothing_and_hash_what_is_there(
    world: World, sets: ConditionSetService
) -> None:
    app = await world.app()
    made = await sets.create(app, "s", SetType.INTEGER)
    await asyncio.gather(*[sets.add_items(app, made.id, [str(n), str(n + 1)]) for n in range(8)])

    now = await sets.get(app, made.id)
    assert (now.item_count, now.content_hash) == (9, content_hash(SetType.INTEGER, [str(n) for n in range(9)]))
    assert 6 <= now.revision <= 9, "one that adds nothing changes nothing"


# --- decisions --------------------------------------------------------------------------------------------------------


async def test_decision__member_or_not__follows_the_set_from_one_request_to_the_next(
    world: World, sets: ConditionSetService
) -> None:
    app = await world.app()
    known = await sets.create(app, "known", SetType.ADDRESS, values=[to_checksum(BOB)])
    wallet = await world.wallet(app, [looks_up(known.id)])

    assert await world.rpc(app, wallet, pure(nonce=0))
    with pytest.raises(PolicyDenied, match=f"to be in condition set {known.id}, but it is {to_checksum(ALICE)}"):
        await world.rpc(app, wallet, send(to=ALICE))
    await sets.replace_items(app, known.id, [ALICE])
    assert await world.rpc(app, wallet, send(to=ALICE))
    with pytest.raises(PolicyDenied):
        await world.rpc(app, wallet, pure(nonce=1))
    rows = await world.rows("select policy_revisions from signing_decisions order by id")
    assert [row["policy_revisions"][known.id] for row in rows] == [1, 1, 2, 2]


async def test_decision__deny_list__stops_members_and_what_has_no_such_field(
    world: World, sets: ConditionSetService
) -> None:
    app = await world.app()
    bad = await sets.create(app, "bad", SetType.ADDRESS, values=[ALICE])
    wallet = await world.wallet(app, [looks_up(bad.id, action="DENY"), EVERYTHING])

    assert await world.rpc(app, wallet, send(to=BOB))
    for body in (send(to=ALICE), message()):
        with pytest.raises(PolicyDenied):
            await world.rpc(app, wallet, body)


@pytest.mark.parametrize("operator", ["in_condition_set", "not_in_condition_set"])
@pytest.mark.parametrize("action", ["ALLOW", "DENY"])
async def test_decision__set_that_is_missing__signs_nothing_either_way(
    world: World, sets: ConditionSetService, admin_dsn: str, operator: str, action: str
) -> None:
    app = await world.app()
    gone = await sets.create(app, "gone", SetType.ADDRESS, values=[BOB])
    wallet = await world.wallet(app, [looks_up(gone.id, operator, action=action), EVERYTHING][: 1 + (action == "DENY")])
    with psycopg.connect(admin_dsn, autocommit=True) as admin:
        admin.execute("delete from policy_condition_sets")
        admin.execute("delete from condition_sets")

    for to in (BOB, ALICE):
        with pytest.raises(AuthorityTampered):
            await world.rpc(app, wallet, send(to=to))
    tried = await world.custody.evaluate_policy(app, wallet.policy_ids[0], wallet.id, send(to=BOB))
    assert tried.rules[0].conditions[0].holds is Holds.UNKNOWN


TAMPERINGS = {
    "item put in": "insert into condition_set_items (id, app_id, set_id, value, original, created_at)"
    " select 'x', app_id, id, '{alice}', '', now() from condition_sets",
    "item taken out": "delete from condition_set_items",
    "item changed": "update condition_set_items set value = '{alice}'",
    "row changed": "update condition_sets set content_hash = sha256(convert_to('address' || chr(10), 'UTF8'))",
    "revision put back": "update condition_sets set revision = 1",
    "given to a user": "update condition_sets set owner_user_id = (select min(id) from users)",
    "seal taken away": "delete from seals where kind = 'condition_set'",
    "seal of another set": "update seals set code = sha256('x') where kind = 'condition_set'",
    "policy no longer noted": "delete from policy_condition_sets",
}


@pytest.mark.parametrize("edit", TAMPERINGS)
@pytest.mark.parametrize("action", ["ALLOW", "DENY"])
async def test_attack__writer_of_the_database_edits_a_set__gets_nothing_signed(
    world: World, sets: ConditionSetService, admin_dsn: str, edit: str, action: str
) -> None:
    app = await world.app()
    await user(world, app, 1)
    listed = await sets.create(app, "listed", SetType.ADDRESS)
    await sets.add_items(app, listed.id, [BOB])
    rules = [looks_up(listed.id, action=action), EVERYTHING][: 1 + (action == "DENY")]
    wallet = await world.wallet(app, rules)

    with psycopg.connect(admin_dsn, autocommit=True) as admin:
        admin.execute(TAMPERINGS[edit].format(alice=ALICE).encode())

    for to in (ALICE, BOB):
        with pytest.raises(AuthorityTampered):
            await world.rpc(app, wallet, send(to=to))
    assert world.engine.queued == []
    if edit != "policy no longer noted":
        with pytest.raises((AuthorityTampered, OwnerRequired)):
            await sets.add_items(app, listed.id, ["0x" + "77" * 20])


async def test_attack__set_and_items_put_back_to_what_they_were__signs_nothing(
    world: World, sets: ConditionSetService, admin_dsn: str
) -> None:
    app = await world.app()
    bad = await sets.create(app, "bad", SetType.ADDRESS)
    wallet = await world.wallet(app, [looks_up(bad.id, action="DENY"), EVERYTHING])
    with psycopg.connect(admin_dsn, autocommit=True) as admin:
        for table in ("condition_sets", "condition_set_items", "seals"):
            admin.execute(f"create table old_{table} as select * from {table}".encode())
        await sets.add_items(app, bad.id, [ALICE])
        admin.execute("delete from condition_set_items")
        admin.execute(
            "update condition_sets s set revision = o.revision, item_count = o.item_count, content_hash = o.content_hash"
            " from old_condition_sets o where o.id = s.id"
        )
        admin.execute(
            "update seals s set revision = o.revision, code = o.code from old_seals o where o.kind = s.kind and o.id = s.id"
        )

    with pytest.raises(AuthorityTampered, match="is at revision 1 and was at 2"):
        await world.rpc(app, wallet, send(to=ALICE))


async def test_decision__set_in_memory__is_forgotten_when_there_are_too_many_items_and_read_again(
    world: World, sets: ConditionSetService
) -> None:
    app = await world.app()
    made = [await sets.create(app, "s", SetType.INTEGER, values=[str(n), "100"]) for n in range(3)]
    shelf = SetShelf(world.seals, max_items=4)
    async with world.database.tenant(app.tenant) as uow:
        for _ in range(2):
            for number, one in enumerate(made):
                asked = {(one.id, str(number)), (one.id, "7"), (one.id, None), (MISSING, "7")}
                assert await shelf.find_members(uow, app.tenant, asked) == {
                    (one.id, str(number)): True,
                    (one.id, "7"): False,
                    (one.id, None): False,
                }


async def test_decision__text_that_no_set_can_hold__is_in_none(world: World, sets: ConditionSetService) -> None:
    app = await world.app()
    words = await sets.create(app, "words", SetType.STRING, values=["hello"])
    condition = {
        "field_source": "ethereum_message",
        "field": "content",
        "operator": "not_in_condition_set",
        "value": words.id,
    }
    wallet = await world.wallet(app, [{"method": "personal_sign", "action": "ALLOW", "conditions": [condition]}])

    for text in ("x" * 2_000, "a\x00b"):
        assert await world.rpc(app, wallet, message(text))
    with pytest.raises(PolicyDenied):
        await world.rpc(app, wallet, message("hello"))


async def test_sign__set_that_changed_since_the_decision__is_looked_at_again(
    world: World, sets: ConditionSetService
) -> None:
    app = await world.app()
    known = await sets.create(app, "known", SetType.ADDRESS, values=[BOB])
    wallet = await world.wallet(app, [looks_up(known.id)])
    decision = await decided(world, app, wallet)

    await sets.replace_items(app, known.id, [ALICE])
    (refused,) = await world.custody.sign_transactions([(decision, QUEUED)])
    await sets.add_items(app, known.id, [BOB])
    (signed,) = await world.custody.sign_transactions([(decision, QUEUED)])

    assert isinstance(refused, PolicyDenied)
    assert isinstance(signed, SignedTransaction)


async def test_sign__set_that_changes_while_the_signer_works__releases_nothing(
    world: World, sets: ConditionSetService
) -> None:
    app = await world.app()
    known = await sets.create(app, "known", SetType.ADDRESS, values=[BOB])
    wallet = await world.wallet(app, [looks_up(known.id)])
    decision = await decided(world, app, wallet)

    world.executor.meanwhile = lambda: sets.replace_items(app, known.id, [])
    with pytest.raises(PolicyDenied):
        await world.rpc(app, wallet, pure())
    await sets.add_items(app, known.id, [BOB])
    (refused,) = await world.custody.sign_transactions([(decision, QUEUED)])
    assert isinstance(refused, PolicyDenied)
    assert await world.rows("select 1 from released_signatures") == []


async def test_preview__set_that_changed_since__is_outdated(world: World, sets: ConditionSetService) -> None:
    app = await world.app()
    known = await sets.create(app, "known", SetType.ADDRESS, values=[BOB])
    wallet = await world.wallet(app, [looks_up(known.id)])
    shown = await world.custody.preview(app, wallet.id, pure())
    await sets.add_items(app, known.id, [ALICE])

    with pytest.raises(PreviewOutdated):
        await world.rpc(app, wallet, pure(preview_digest=shown.digest))


# --- policies that name sets ------------------------------------------------------------------------------------------


async def test_create_policy__set_of_another_type_or_nobody__is_refused_with_its_path(
    world: World, sets: ConditionSetService
) -> None:
    app, other = await world.app(), await world.app("Other")
    numbers = await sets.create(app, "numbers", SetType.INTEGER)
    foreign = await sets.create(other, "foreign", SetType.ADDRESS)
    one, two = await user(world, app, 1), await user(world, app, 2)
    private = await sets.create(one, "private", SetType.ADDRESS)

    for caller, set_id, words in (
        (app, numbers.id, "expected a condition set of type address, was integer"),
        (app, foreign.id, f"there is no condition set {foreign.id}"),
        (app, MISSING, f"there is no condition set {MISSING}"),
        (two, private.id, f"there is no condition set {private.id}"),
    ):
        with pytest.raises(PolicyInvalid, match=words) as refused:
            await world.policy(caller, [EVERYTHING, looks_up(set_id)])
        assert [fault.path for fault in refused.value.faults] == ["rules[1].conditions[0].value"]
    assert await world.policy(one, [looks_up(private.id)])
    assert await world.policy(app, [looks_up(private.id)])
    with pytest.raises(PolicyInvalid, match="does not fit"):
        await world.policy(app, [looks_up(numbers.id, field="data")])
    with pytest.raises(PolicyInvalid, match="expected the id of a condition set"):
        await world.policy(app, [looks_up("known")])


async def test_delete__while_a_policy_names_the_set__is_refused(world: World, sets: ConditionSetService) -> None:
    app = await world.app()
    known = await sets.create(app, "known", SetType.ADDRESS, values=[BOB])
    policy = await world.policy(app, [looks_up(known.id)])

    with pytest.raises(ConditionSetInUse):
        await sets.delete(app, known.id)
    await world.custody.update_policy(app, policy.id, document(EVERYTHING))
    await sets.delete(app, known.id)
    with pytest.raises(ConditionSetNotFound):
        await sets.get(app, known.id)
    assert await world.rows("select 1 from condition_set_items") == []
    with pytest.raises(PolicyInvalid, match="there is no condition set"):
        await world.custody.update_policy(app, policy.id, document(looks_up(known.id)))


async def test_delete__while_policies_are_written__leaves_no_policy_without_its_set(
    world: World, sets: ConditionSetService
) -> None:
    app = await world.app()
    for _ in range(8):
        known = await sets.create(app, "known", SetType.ADDRESS, values=[BOB])
        outcomes = await asyncio.gather(
            sets.delete(app, known.id), world.policy(app, [looks_up(known.id)]), return_exceptions=True
        )
        refused = [type(one) for one in outcomes if isinstance(one, Exception)]
        assert refused in ([ConditionSetInUse], [PolicyInvalid])


async def test_change__by_others_than_the_owner__is_refused(world: World, sets: ConditionSetService) -> None:
    app, other = await world.app(), await world.app("Other")
    one, two = await user(world, app, 1), await user(world, app, 2)
    private = await sets.create(one, "private", SetType.ADDRESS, values=[BOB])
    shared = await sets.create(app, "shared", SetType.ADDRESS, values=[BOB])

    for caller, target, error in (
        (app, private, OwnerRequired),
        (one, shared, OwnerRequired),
        (two, private, ConditionSetNotFound),
        (other, shared, ConditionSetNotFound),
    ):
        for attempt in (
            sets.add_items(caller, target.id, [ALICE]),
            sets.replace_items(caller, target.id, []),
            sets.update(caller, target.id, name="mine"),
            sets.delete(caller, target.id),
        ):
            with pytest.raises(error):
                await attempt
    assert [found.id for found in (await sets.list_sets(two)).items] == [shared.id]
    assert [found.id for found in (await sets.list_sets(one)).items] == [private.id, shared.id]
    assert await sets.get(one, shared.id) == shared
