"""What the words are made of, and what has to be known to make them. The facts are given; nothing is looked up here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class TokenFact:
    """What is known about a registered token."""

    symbol: str
    decimals: int
    name: str = ""


@dataclass(frozen=True, slots=True)
class ChainFact:
    """What is known about a configured chain."""

    name: str
    native_symbol: str = "ETH"
    native_decimals: int = 18


@dataclass(frozen=True, slots=True, kw_only=True)
class WordFacts:
    """Names by which things may be called. What is not here is called by its address or id, and said to be unknown."""

    chains: Mapping[str, ChainFact] = field(default_factory=dict)
    """By CAIP-2."""
    tokens: Mapping[tuple[str, str], TokenFact] = field(default_factory=dict)
    """By (CAIP-2, contract address in lower case)."""
    contracts: Mapping[tuple[str, str], str] = field(default_factory=dict)
    """Names of our own contracts, for example "EscrowFactory", by (CAIP-2, address in lower case)."""


@dataclass(frozen=True, slots=True)
class Detail:
    """One line of the details, with what is inside it."""

    label: str
    value: str = ""
    children: tuple[Detail, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """JSON form; `children` only where there are some."""
        plain: dict[str, Any] = {"label": self.label, "value": self.value}
        if self.children:
            plain["children"] = [child.to_json() for child in self.children]
        return plain


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """A request as a person reads it."""

    sentence: str
    details: tuple[Detail, ...]
    warnings: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "sentence": self.sentence,
            "details": [detail.to_json() for detail in self.details],
            "warnings": list(self.warnings),
        }
