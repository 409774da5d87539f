"""Pieces of words: amounts with their token, chains with their id, full addresses, moments, and quoted foreign text.

Addresses are always written in full: a shortened one can be imitated. Text from outside is quoted and its invisible
characters are made visible, so that it cannot pass for our own words.
"""

from __future__ import annotations

from datetime import UTC, datetime

from lockstep.chains.evm import ZERO_ADDRESS, address_from_bytes, is_address, to_checksum
from lockstep.custody.view.amounts import format_units
from lockstep.custody.view.words.types import Detail, WordFacts

UNLIMITED = 2**255
"""Allowances from here up are called unlimited: no token has that many units."""
_LAST_MOMENT = 253_402_300_799  # 9999-12-31T23:59:59Z, the last second that a calendar here can name


def chain_text(facts: WordFacts, chain: str | None) -> str:
    """ "Devnet One (eip155:31337)"."""
    if chain is None:
        return "no particular chain"
    known = facts.chains.get(chain)
    return f"{known.name} ({chain})" if known else f"the unknown chain {chain}"


def address_text(address: str) -> str:
    """The full address in EIP-55 form; the zero address is named."""
    return to_checksum(address) + (" (the zero address)" if address == ZERO_ADDRESS else "")


def contract_text(facts: WordFacts, chain: str | None, address: str) -> str:
    """Address of a contract, after its name where it is one of ours."""
    name = facts.contracts.get((chain or "", address))
    return f"{name} {address_text(address)}" if name else address_text(address)


def native_text(facts: WordFacts, chain: str | None, amount: int) -> str:
    """An amount of the chain's own coin, exactly."""
    known = facts.chains.get(chain or "")
    if known is None:
        return f"{amount:,} of the smallest native unit (wei)"
    return f"{format_units(amount, known.native_decimals)} {known.native_symbol}"


def token_text(facts: WordFacts, chain: str | None, token: str, amount: int) -> str:
    """An amount of a token, exactly: "25 TKA (token 0x…)"."""
    known = facts.tokens.get((chain or "", token))
    if known is None:
        return f"{amount:,} smallest units of the unregistered token {address_text(token)}"
    return f"{format_units(amount, known.decimals)} {known.symbol} (token {address_text(token)})"


def allowance_text(facts: WordFacts, chain: str | None, token: str, amount: int) -> str:
    """An allowance: an amount of a token, or unlimited."""
    if amount < UNLIMITED:
        return f"up to {token_text(facts, chain, token, amount)}"
    known = facts.tokens.get((chain or "", token))
    name = f"{known.symbol} (token {address_text(token)})" if known else f"the unregistered token {address_text(token)}"
    return f"an UNLIMITED amount of {name}"


def moment_text(seconds: int) -> str:
    """A Unix time as date and clock time in UTC."""
    if not 0 <= seconds <= _LAST_MOMENT:
        return f"the end of time (Unix second {seconds})"
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def quoted(text: str, limit: int = 200) -> str:
    """Foreign text in quotation marks; what cannot be seen is written as an escape, what is too long is cut and counted."""
    shown = "".join(_visible(letter) for letter in text[:limit])
    return f'"{shown}"' + (f" … ({len(text):,} characters in all)" if len(text) > limit else "")


def foreign_address(raw: bytes) -> str | None:
    """EVM address of chain-neutral bytes; None when they are not 20."""
    return address_from_bytes(raw) if len(raw) == 20 else None


def value_detail(label: str, value: object) -> Detail:
    """Any decoded value as a tree: structs and lists as children, bytes as hex, addresses in full."""
    if isinstance(value, dict):
        return Detail(label, "", tuple(value_detail(str(name), part) for name, part in value.items()))
    if isinstance(value, list | tuple):
        children = tuple(value_detail(f"[{index}]", part) for index, part in enumerate(value))
        return Detail(label, "" if children else "empty list", children)
    if isinstance(value, bytes):
        return Detail(label, "0x" + value.hex())
    if isinstance(value, bool):
        return Detail(label, "true" if value else "false")
    if isinstance(value, str):
        return Detail(label, address_text(value) if is_address(value) else quoted(value, limit=10_000))
    return Detail(label, str(value))


def _visible(letter: str) -> str:
    if letter in '"\\':
        return "\\" + letter
    if letter.isprintable():
        return letter
    code = ord(letter)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
