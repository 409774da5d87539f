"""Exact amounts in words. Never loses a digit, never shows something as nothing."""

from __future__ import annotations


def format_units(amount: int, decimals: int, grouping: bool = True) -> str:
    """An amount of smallest units as a decimal number, exactly: 1234500 with 3 decimals is "1,234.5".

    Trailing zeros of the fraction are left out, every other digit stays; a non-zero amount never reads as 0.

    Args:
        decimals: 0 to 255.
        grouping: commas between groups of three digits before the point.
    """
    if not 0 <= decimals <= 255:
        raise ValueError(f"expected 0 to 255 decimals, was {decimals}")
    sign, digits = ("-" if amount < 0 else ""), str(abs(amount)).rjust(decimals + 1, "0")
    whole, fraction = (digits[:-decimals], digits[-decimals:].rstrip("0")) if decimals else (digits, "")
    if grouping:
        whole = f"{int(whole):,}"
    return f"{sign}{whole}.{fraction}" if fraction else f"{sign}{whole}"
