"""Codes of seals, and the file of anchors."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from lockstep.custody.seals.anchors import Anchors
from lockstep.custody.seals.rules import Content, Kind, refuse_age, seal_code

KEY, OTHER = bytes(range(32)), bytes(32)
members = st.recursive(
    st.none() | st.booleans() | st.text(st.characters(exclude_categories=("Cs",)), max_size=8),
    lambda inner: st.lists(inner, max_size=3).map(tuple),
    max_leaves=6,
)
contents = st.lists(members, max_size=4).map(tuple)


@given(st.tuples(st.text(max_size=4), st.text(max_size=4), st.integers(1, 9), contents), st.data())
def test_seal_code__anything_else__is_another_one(sealed: tuple[str, str, int, Content], data: st.DataObject) -> None:
    kind, subject, revision, content = sealed
    others = st.tuples(st.text(max_size=4), st.text(max_size=4), st.integers(1, 9), contents)
    other = data.draw(others.filter(lambda one: one != sealed))
    assert seal_code(KEY, kind, subject, revision, content) != seal_code(KEY, *other)
    assert seal_code(KEY, kind, subject, revision, content) != seal_code(OTHER, kind, subject, revision, content)


def test_refuse_age__only_a_kill_switch_that_never_was_may_be_missing() -> None:
    for kind in Kind:
        assert (refuse_age(kind, None, None) is None) == (kind is Kind.KILL_SWITCH)
        assert refuse_age(kind, None, 1) == "has no seal"
        assert refuse_age(kind, 3, 4) == "is at revision 3 and was at 4"
        assert refuse_age(kind, 4, 4) is None
        assert refuse_age(kind, 5, 4) is None


async def test_anchors__of_one_process__are_seen_by_others_and_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "anchors"
    one, two = Anchors(KEY, path), Anchors(KEY, path)
    two.refresh()
    await one.note({(Kind.WALLET, "w"): 2, (Kind.KILL_SWITCH, ""): 1})
    await two.note({(Kind.WALLET, "w"): 5})
    await one.note({(Kind.WALLET, "w"): 4})
    for anchors in (one, two, Anchors(KEY, path)):
        anchors.refresh()
        assert (anchors.find(Kind.WALLET, "w"), anchors.find(Kind.KILL_SWITCH, "")) == (5, 1)
        assert anchors.find(Kind.WALLET, "x") is None


async def test_anchors__lines_of_somebody_without_the_key__are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "anchors"
    await Anchors(OTHER, path).note({(Kind.WALLET, "w"): 9})
    with path.open("a") as file:
        file.write("rubbish\nwallet w 99 \nwallet w 1" + "0" * 300 + " 00\n")
    await Anchors(KEY, path).note({(Kind.WALLET, "w"): 2})
    later = Anchors(KEY, path)
    later.refresh()
    assert later.find(Kind.WALLET, "w") == 2


async def test_anchors__half_a_line__is_read_once_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "anchors"
    await Anchors(KEY, path).note({(Kind.WALLET, "w"): 2})
    whole = path.read_bytes()
    path.write_bytes(whole[:20])
    reader = Anchors(KEY, path)
    reader.refresh()
    assert reader.find(Kind.WALLET, "w") is None
    path.write_bytes(whole)
    reader.refresh()
    assert reader.find(Kind.WALLET, "w") == 2


async def test_anchors__noted_while_rows_are_read__says_nothing_against_them(tmp_path: Path) -> None:
    path = tmp_path / "anchors"
    here, elsewhere = Anchors(KEY, path), Anchors(KEY, path)
    await here.note({(Kind.POLICY, "p"): 2})
    before = here.mark()
    await here.note({(Kind.POLICY, "p"): 3})
    await elsewhere.note({(Kind.POLICY, "p"): 4})
    assert here.find(Kind.POLICY, "p", before) == 2
    assert here.find(Kind.POLICY, "p", here.mark()) == 4
    assert here.find(Kind.POLICY, "q", before) is None
