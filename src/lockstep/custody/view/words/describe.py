"""The one entrance: a view in, words out. Pure."""

from __future__ import annotations

import re

from lockstep.custody.view.types import Method, RequestView
from lockstep.custody.view.words.authority import describe_authorization
from lockstep.custody.view.words.batches import describe_batch, describe_user_operation
from lockstep.custody.view.words.cardano import describe_body
from lockstep.custody.view.words.text import address_text, quoted
from lockstep.custody.view.words.transactions import describe_transaction
from lockstep.custody.view.words.typed import describe_typed_data
from lockstep.custody.view.words.types import Detail, WordFacts, Words

_HASH_TEXT = re.compile(r"\s*(0x)?[0-9a-fA-F]{64}\s*")


def describe(view: RequestView, facts: WordFacts | None = None) -> Words:
    """The view in one English sentence, with details down to the bytes and warnings, the worst loss first.

    Addresses are written in full; amounts exactly; what is not known here is called unknown.
    """
    known = facts or WordFacts()
    if view.typed_data is not None:
        return describe_typed_data(view, view.typed_data, known)
    if view.method is Method.SEND_CALLS and view.transaction is not None:
        return describe_batch(view, view.transaction, known)
    if view.transaction is not None:
        return describe_transaction(view, view.transaction, known)
    if view.user_operation is not None:
        return describe_user_operation(view, view.user_operation, known)
    if view.authorization is not None:
        return describe_authorization(view, known)
    if view.cardano_body is not None:
        return describe_body(view, view.cardano_body)
    if view.message is not None:
        return _message(view, view.message)
    return _blind(view)


def _blind(view: RequestView) -> Words:
    digest = "0x" + (view.digest or b"").hex()
    content = "0x" + (view.payload or b"")[1:].hex()
    details = [Detail("Signer", address_text(view.from_address)), Detail("Hash", digest)]
    if content != digest:
        details.append(Detail("Bytes", content if len(content) <= 4_098 else f"{content[:4_098]}…"))
    warning = "Nobody can see what this stands for: it may be a transaction that takes everything, on any chain."
    return Words(
        sentence=f"Sign the hash {digest}, whatever it stands for", details=tuple(details), warnings=(warning,)
    )


def _message(view: RequestView, content: bytes) -> Words:
    text = view.fields.get("ethereum_message.content", view.fields.get("cardano_message.content"))
    size = f"({len(content):,} byte{'' if len(content) == 1 else 's'})"
    raw = "0x" + content.hex()
    warnings = []
    if isinstance(text, str):
        sentence = f"Sign the message {quoted(text)} {size}"
    else:
        sentence = f"Sign a message that is not text: {raw[:130]}{'…' if len(raw) > 130 else ''} {size}"
    if len(content) == 32 or (isinstance(text, str) and _HASH_TEXT.fullmatch(text)):
        warnings.append("This looks like a bare hash: nobody can see what it stands for.")
    details = (
        Detail("Signer", address_text(view.from_address)),
        Detail("Message", quoted(text, limit=20_000) if isinstance(text, str) else raw),
        Detail("Bytes", raw if len(raw) <= 4_098 else f"{raw[:4_098]}… {size}"),
    )
    return Words(sentence=sentence, details=details, warnings=tuple(warnings))
