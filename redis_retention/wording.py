"""Numbers and times as people read and write them."""

from __future__ import annotations

import re
from datetime import timedelta

from rich import filesize

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_SPAN = re.compile(r"(\d+)([smhdw])", re.ASCII)

SPAN_PATTERN = r"^[0-9]+[smhdw]$"
"""The pattern of a time span, for those who describe it to programs."""


def read_span(text: str) -> timedelta:
    """A time: a whole number, at least 1, and a unit, as in ``30s``, ``15m``, ``12h``, ``7d``.

    Raises:
        ValueError: It is none.
    """
    read = _SPAN.fullmatch(text)
    if not read or not int(read[1]):
        raise ValueError(f"{text!r} is not a time such as 30s, 15m, 12h, 7d or 2w.")
    try:
        return timedelta(**{_UNITS[read[2]]: int(read[1])})
    except OverflowError as error:
        raise ValueError(f"{text!r} is too long.") from error


def counted(number: int, noun: str) -> str:
    """``1 thread``, ``1,000 threads``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def size(number: int | None) -> str:
    """Bytes with their unit; a dash where the server does not tell."""
    return "-" if number is None else filesize.decimal(number)
