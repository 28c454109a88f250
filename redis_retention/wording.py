"""Numbers as people read them."""

from __future__ import annotations

from rich import filesize


def counted(number: int, noun: str) -> str:
    """``1 thread``, ``1,000 threads``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def size(number: int | None) -> str:
    """Bytes with their unit; a dash where the server does not tell."""
    return "-" if number is None else filesize.decimal(number)
