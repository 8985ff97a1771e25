"""Amounts as a person would say them."""

from __future__ import annotations


def duration(seconds: float) -> str:
    """Seconds, minutes or hours, as a person would say them."""
    if seconds < 1:
        return "less than a second"
    if seconds < 90:
        return count(round(seconds), "second")
    if seconds < 5400:
        return count(round(seconds / 60), "minute")
    return f"{seconds / 3600:.1f} hours"


def count(number: int, what: str) -> str:
    """So many of something, in the plural unless it is one."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def megabytes(size: int) -> str:
    """Bytes as a person reads them."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
