"""What names and passwords must be, and how long to wait after failures."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockstep.custody.accounts.rules import (
    FREE_ATTEMPTS,
    LONGEST_BLOCK,
    block_after,
    check_password,
    network_of,
    normal_name,
    normal_password,
)
from lockstep.custody.errors import AccountNameInvalid, PasswordTooWeak

GOOD = "correct horse battery staple"


@pytest.mark.parametrize(
    "password",
    [
        "short",
        "elevenchars",
        "x" * 257,
        "password1234",
        "Password2026!",
        "passwordpassword",
        "qwertyuiop1234",
        "letmeinletmein",
        "123456789012",
        "098765432109",
        "210987654321",
        "abcdefghijkl",
        "lkjihgfedcba",
        "aaaaaaaaaaaa",
        "abababababab",
        "1212121212121",
        "2026-11-25-2026",
        "alice@example.org",
        "ALICE@example.org99",
        "!alice1234567",
        "1q2w3e4r5t!!!",
    ],
)
def test_password__of_the_first_that_anybody_tries__is_refused(password: str) -> None:
    with pytest.raises(PasswordTooWeak):
        check_password(password, "alice@example.org")


@pytest.mark.parametrize("password", [GOOD, "x7#kLp!2mQ9z", "пароль не скажу", "💎🪙🔑" * 4 + "mine", "y" * 5 + GOOD])
def test_password__that_nobody_guesses__is_taken(password: str) -> None:
    check_password(password, "alice@example.org")


def test_password__of_letters_that_can_be_written_in_two_ways__is_one() -> None:
    assert normal_password("caf\u00e9") == normal_password("cafe\u0301")
    assert normal_password("ﬁne") != normal_password("fine")


@pytest.mark.parametrize(
    ("written", "name"),
    [("Alice@Example.ORG", "alice@example.org"), ("ＡＬＩＣＥ", "alice"), ("Straße", "strasse"), ("ﬁona", "fiona")],
)
def test_name__written_in_many_ways__is_one(written: str, name: str) -> None:
    assert normal_name(written) == name


@pytest.mark.parametrize(
    "name", ["", "ab", "a b c", "x" * 255, "abc\n", "abc\x00", "abc\u200b", "abc\u202e", "ab\u00a0c"]
)
def test_name__with_what_cannot_be_seen__is_refused(name: str) -> None:
    with pytest.raises(AccountNameInvalid):
        normal_name(name)


@given(st.text(min_size=1, max_size=300))
def test_name__normal__stays_as_it_is(text: str) -> None:
    try:
        name = normal_name(text)
    except AccountNameInvalid:
        return
    assert normal_name(name) == name
    assert 3 <= len(name) <= 254


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("203.0.113.5", "203.0.113.5"),
        ("::ffff:203.0.113.5", "203.0.113.5"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::", "2001:db8:1:2::/64"),
        ("unknown", "unknown"),
    ],
)
def test_address__of_which_one_customer_has_very_many__counts_as_one(address: str, network: str) -> None:
    assert network_of(address) == network


@given(st.sampled_from(sorted(FREE_ATTEMPTS)), st.integers(1, 10_000))
def test_pause__after_more_failures__never_is_shorter(kind: str, attempts: int) -> None:
    now, next_one = block_after(kind, attempts), block_after(kind, attempts + 1)  # type: ignore[arg-type]
    assert (now is None) == (attempts < FREE_ATTEMPTS[kind])  # type: ignore[index]
    assert (now or timedelta(0)) <= (next_one or timedelta(0)) <= LONGEST_BLOCK
