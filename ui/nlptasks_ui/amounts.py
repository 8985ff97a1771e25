"""Durations, counts and sizes in words."""

from __future__ import annotations


def duration(seconds: float) -> str:
    """A duration in words, in the unit that suits its length."""
    if seconds < 1:
        return "less than a second"
    if seconds < 90:
        return count(round(seconds), "second")
    if seconds < 5400:
        return count(round(seconds / 60), "minute")
    return f"{seconds / 3600:.1f} hours"


def count(number: int, noun: str) -> str:
    """A number and its noun, in the plural unless the number is 1."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def megabytes(size: int) -> str:
    """A size in bytes, written in MB or GB."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
