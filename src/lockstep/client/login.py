"""Signing in with an own key: checks the text that the server asks to have signed before it is signed."""

from __future__ import annotations

from lockstep.client.errors import UnexpectedAnswer


def check_login_message(message: str, address: str, chain_id: int) -> bytes:
    """The bytes to sign with `personal_sign`, if the text is a sign-in (EIP-4361) of this address and nothing else.

    Raises:
        UnexpectedAnswer: the text could mean something else; do not sign it.
    """
    lines = message.split("\n")
    is_sign_in = (
        len(lines) >= 9
        and lines[0].endswith(" wants you to sign in with your Ethereum account:")
        and lines[1].lower() == address.lower()
        and f"Chain ID: {chain_id}" in lines
        and any(line.startswith("Nonce: ") for line in lines)
    )
    if not is_sign_in:
        raise UnexpectedAnswer(f"expected the sign-in text of {address}, was {message[:80]!r}")
    return message.encode()
