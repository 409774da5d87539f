"""Selective answers."""

import pytest

from lockstep.kit.fields import FieldUnknown, parse_fields, select_fields

KNOWN = ("id", "name", "status")


def test_fields__none_asked_for__shows_everything() -> None:
    assert parse_fields(None, KNOWN) is None
    assert select_fields({"id": 1, "name": 2}, None) == {"id": 1, "name": 2}


def test_fields__named__are_shown_in_the_order_of_the_document() -> None:
    wanted = parse_fields("status, id", KNOWN)
    assert list(select_fields({"id": 1, "name": 2, "status": 3}, wanted).items()) == [("id", 1), ("status", 3)]


@pytest.mark.parametrize("text", ["", "id,", "secret", "ID", "id;name"])
def test_fields__anything_else__is_refused_with_the_names_that_there_are(text: str) -> None:
    with pytest.raises(FieldUnknown) as refused:
        parse_fields(text, KNOWN)
    assert "id, name, status" in refused.value.detail
