"""Ids of threads, and of checkpoints that say when they were made, as LangGraph makes them.

``lua/include/clock.lua`` reads the same.
"""

from __future__ import annotations

import re

UUID_LENGTH = 36

_UUID = rb"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-6[0-9a-fA-F]{3}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"

# A UUID of version 6, and what old data has, a ULID.
is_uuid = re.compile(_UUID).fullmatch
is_ulid = re.compile(rb"[0-7][0-9A-HJKMNP-TV-Z]{25}").fullmatch

# What ends the name of a pending write.
is_write_number = re.compile(rb"-?\d+").fullmatch


def as_bytes(name: str | bytes) -> bytes:
    """A name as it stands in keys."""
    return name.encode("utf-8", "surrogateescape") if isinstance(name, str) else name
