"""What is sealed of keys and quorums: an owner is believed when every key and quorum in it is."""

from __future__ import annotations

from collections.abc import Iterator

from lockstep.custody.authority.types import AuthorizationKeyRow, KeyQuorum, Owner, OwnerKey
from lockstep.custody.seals import Content, Kind, contents

SealedRow = tuple[Kind, str, Content]


def owner_rows(app_id: str, owner: Owner) -> Iterator[SealedRow]:
    """The rows of an owner's whole tree, as they were read."""
    if owner.kind == "key_quorum":
        quorums = [quorum.id for quorum in owner.quorums]
        keys = [key.id for key in owner.keys]
        yield Kind.KEY_QUORUM, owner.id, contents.of_quorum(app_id, owner.threshold, keys, owner.user_ids, quorums)
    for key in owner.keys:
        yield key_row(app_id, key)
    for quorum in owner.quorums:
        yield from owner_rows(app_id, quorum)


def key_row(app_id: str, key: OwnerKey) -> SealedRow:
    """The row of one key."""
    return (
        Kind.AUTHORIZATION_KEY,
        key.id,
        contents.of_key(app_id, key.public_key, key.revision, is_active=key.is_active),
    )


def key_content(key: AuthorizationKeyRow) -> Content:
    return contents.of_key(key.app_id, key.public_key, key.revision, is_active=key.status == "active")


def quorum_content(quorum: KeyQuorum) -> Content:
    return contents.of_quorum(quorum.app_id, quorum.threshold, quorum.key_ids, quorum.user_ids, quorum.quorum_ids)
