"""What differs between two documents of a policy."""

from hypothesis import given
from hypothesis import strategies as st

from lockstep.custody.policy.revisions import diff_rules

rules = st.lists(
    st.fixed_dictionaries({"id": st.sampled_from("abcde"), "action": st.sampled_from(["ALLOW", "DENY"])}),
    unique_by=lambda rule: rule["id"],
)


def test_diff__added_removed_and_changed__are_told_apart() -> None:
    before = [{"id": "a", "n": 1}, {"id": "b", "n": 1}, {"id": "c", "n": 1}]
    diff = diff_rules(before, [{"id": "c", "n": 1}, {"id": "b", "n": 2}, {"id": "d", "n": 1}])
    assert diff.added == ({"id": "d", "n": 1},)
    assert diff.removed == ({"id": "a", "n": 1},)
    assert diff.changed == (({"id": "b", "n": 1}, {"id": "b", "n": 2}),)


@given(rules, rules)
def test_diff__applied_to_the_old_rules__gives_the_new_ones(
    before: list[dict[str, str]], after: list[dict[str, str]]
) -> None:
    diff = diff_rules(before, after)
    kept = {rule["id"]: rule for rule in before}
    for rule in diff.removed:
        assert kept.pop(rule["id"]) == rule
    for old, new in diff.changed:
        assert kept[old["id"]] == old != new
        kept[new["id"]] = dict(new)
    kept |= {rule["id"]: dict(rule) for rule in diff.added}
    assert kept == {rule["id"]: rule for rule in after}
