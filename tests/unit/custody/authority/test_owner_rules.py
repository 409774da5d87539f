"""When an owner has authorised: thresholds, distinct holders, nested quorums. Compared with a plain second reading."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockstep.custody.authority.errors import QuorumInvalid
from lockstep.custody.authority.proofs import RecordedProof
from lockstep.custody.authority.rules import authorise, check_quorum, is_satisfiable
from lockstep.custody.authority.types import Owner, OwnerKey


def key(name: str, *, point: str | None = None, active: bool = True, revision: int = 1) -> OwnerKey:
    return OwnerKey(id=name, public_key=(point or name).encode(), revision=revision, is_active=active)


def quorum(threshold: int, *keys: OwnerKey, users: tuple[str, ...] = (), inner: tuple[Owner, ...] = ()) -> Owner:
    return Owner(id="q", kind="key_quorum", threshold=threshold, keys=keys, user_ids=users, quorums=inner)


def proof(*names: str) -> RecordedProof:
    return RecordedProof([name if ":" in name else f"key:{name}#1" for name in names])


A, B, C = key("a"), key("b"), key("c")


def test_authorise__two_of_three__needs_two() -> None:
    owner = quorum(2, A, B, C)
    assert authorise(owner, proof("a", "c")).is_enough
    assert authorise(owner, proof("a", "c")).by == ("key:a#1", "key:c#1")
    assert not authorise(owner, proof("a")).is_enough
    assert not authorise(owner, None).is_enough


def test_trap_10__one_public_key_under_two_ids__counts_once() -> None:
    owner = quorum(2, A, key("a-again", point="a"))
    authorisation = authorise(owner, proof("a", "a-again"))
    assert (authorisation.is_enough, authorisation.given) == (False, 1)


def test_authorise__revoked_or_rotated_key__counts_nothing() -> None:
    assert not authorise(quorum(1, key("a", active=False)), proof("a")).is_enough
    assert not authorise(quorum(1, key("a", revision=2)), proof("a")).is_enough


def test_authorise__user__counts_by_its_token_or_its_record() -> None:
    owner = quorum(2, A, users=("u",))
    assert authorise(owner, proof("a"), "u").is_enough
    assert authorise(owner, proof("a", "user:u")).is_enough
    assert not authorise(owner, proof("a"), "somebody").is_enough


def test_authorise__user_who_is_disabled__counts_nothing_more() -> None:
    owner = replace(quorum(2, A, users=("u",)), disabled=frozenset({"u"}))
    assert not authorise(owner, proof("a"), "u").is_enough
    assert not authorise(owner, proof("a", "user:u")).is_enough
    assert not is_satisfiable(owner)


def test_authorise__quorum_in_a_quorum__counts_once_when_its_own_threshold_is_met() -> None:
    owner = quorum(2, A, inner=(quorum(2, B, C),))
    assert authorise(owner, proof("a", "b", "c")).is_enough
    assert not authorise(owner, proof("a", "b")).is_enough
    assert not authorise(owner, proof("b", "c")).is_enough


def test_authorise__one_holder_in_both_quorums__is_counted_in_one_of_them() -> None:
    owner = quorum(2, inner=(quorum(1, A), quorum(1, A)))
    assert not authorise(owner, proof("a")).is_enough
    assert not authorise(quorum(2, A, inner=(quorum(1, A),)), proof("a")).is_enough


@pytest.mark.parametrize(
    "owner",
    [
        quorum(1),
        quorum(0, A),
        quorum(3, A, B),
        quorum(1, A, key("other", point="a")),
        quorum(1, A, users=("u", "u")),
        quorum(1, A, inner=(quorum(1, A),)),
        quorum(1, users=("u",), inner=(quorum(1, users=("u",)),)),
        quorum(1, A, inner=(quorum(1, B, inner=(quorum(1, C),)),)),
        quorum(1, key("a", active=False)),
        quorum(1, *(key(f"k{number}") for number in range(21))),
    ],
)
def test_check_quorum__says_another_thing_than_it_seems_to__is_refused(owner: Owner) -> None:
    with pytest.raises(QuorumInvalid):
        check_quorum(owner)


def test_is_satisfiable__without_one_of_two__is_not() -> None:
    assert is_satisfiable(quorum(2, A, B))
    assert not is_satisfiable(quorum(2, A, B), without_key="a")
    assert is_satisfiable(quorum(1, A, B), without_key="a")
    assert not is_satisfiable(quorum(2, A, inner=(quorum(2, B, C),)), without_key="b")


_names = st.sampled_from("abcdefgh")
_leaves = st.builds(
    lambda names, users, threshold: quorum(threshold, *(key(name) for name in names), users=tuple(users)),
    st.lists(_names, unique=True, max_size=4),
    st.lists(st.sampled_from("uvw"), unique=True, max_size=2),
    st.integers(1, 5),
)
_owners = st.builds(lambda outer, inner: replace(outer, quorums=tuple(inner)), _leaves, st.lists(_leaves, max_size=3))


@given(_owners, st.lists(_names, unique=True), st.lists(st.sampled_from("uvw"), unique=True))
def test_authorise__any_owner__never_counts_a_holder_twice(owner: Owner, names: list[str], users: list[str]) -> None:
    shown = proof(*names, *(f"user:{user}" for user in users))
    result = authorise(owner, shown)
    assert len(set(result.by)) == len(result.by)
    assert set(result.by) <= set(shown.identities)
    if result.is_enough:  # each of the members that count has a holder of its own
        assert len(result.by) >= owner.threshold


@given(_owners, st.lists(_names, unique=True), st.lists(st.sampled_from("uvw"), unique=True))
def test_authorise__owner_as_it_may_be_written__agrees_with_a_plain_count(
    owner: Owner, names: list[str], users: list[str]
) -> None:
    try:
        check_quorum(owner)
    except QuorumInvalid:
        return

    def plain(part: Owner) -> bool:
        direct = sum(each.id in names for each in part.keys) + sum(user in users for user in part.user_ids)
        return direct + sum(plain(child) for child in part.quorums) >= part.threshold

    assert authorise(owner, proof(*names, *(f"user:{user}" for user in users))).is_enough == plain(owner)
