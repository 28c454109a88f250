"""Patterns for thread ids, as for Redis' KEYS: ``*``, ``?``, ``[a-z]``, ``[^a-z]``, a backslash.

Ids are chosen by strangers, so a match never backtracks: between two stars the leftmost place is
taken, which is always right. The steps are at most the id's length times the pattern's. The Lua
half is ``lua/include/glob.lua``; tests hold both against each other.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

from redis_retention.policy import InvalidPolicy

LONGEST_PATTERN = 256

_TOKEN = re.compile(
    rb"\\(?P<escaped>.) | (?P<any>\*) | (?P<one>\?) | \[(?P<set>\^?[^\]]*)\] | (?P<literal>.)",
    re.DOTALL | re.VERBOSE,
)
_RANGE = re.compile(rb"(?P<first>.)-(?P<last>.) | (?P<single>.)", re.DOTALL | re.VERBOSE)
_ALL_BYTES = frozenset(range(256))

Segment: TypeAlias = "bytes | tuple[frozenset[int], ...]"
"""What stands between two stars: text, or what each byte may be."""


@dataclass(frozen=True, slots=True)
class Glob:
    """A pattern, taken apart.

    Attributes:
        literals: Bytes that stand for themselves.
        wildcards: How many of ``*``, ``?`` and sets there are.
        segments: What stands between the stars, before the first and behind the last.
    """

    literals: int
    wildcards: int
    segments: tuple[Segment, ...]

    @property
    def exact(self) -> bool:
        """Whether it is a thread id."""
        return self.wildcards == 0

    def matches(self, text: bytes) -> bool:
        """Whether all of the text is as the pattern says."""
        first, *middle = self.segments
        if not middle:
            return len(text) == len(first) and _is_at(first, text, 0)
        last = middle.pop()
        end = len(text) - len(last)
        at = len(first)
        if end < at or not _is_at(first, text, 0) or not _is_at(last, text, end):
            return False
        for segment in middle:
            found = _find(segment, text, at, end)
            if found < 0:
                return False
            at = found + len(segment)
        return True


def _is_at(segment: Segment, text: bytes, at: int) -> bool:
    if isinstance(segment, bytes):
        return text.startswith(segment, at)
    here = text[at : at + len(segment)]
    return len(here) == len(segment) and all(
        byte in allowed for byte, allowed in zip(here, segment, strict=True)
    )


def _find(segment: Segment, text: bytes, start: int, end: int) -> int:
    """The first place from `start` on at which a segment stands that ends by `end`, or -1."""
    if isinstance(segment, bytes):
        return text.find(segment, start, end)
    places = range(start, end - len(segment) + 1)
    return next((at for at in places if _is_at(segment, text, at)), -1)


@lru_cache(maxsize=1024)
def parse(pattern: bytes) -> Glob:
    """Take a pattern apart.

    Raises:
        InvalidPolicy: It is empty or too long, or a set in it is empty.
    """
    if not pattern:
        raise InvalidPolicy("the pattern for thread ids is empty: '*' stands for all of them")
    if len(pattern) > LONGEST_PATTERN:
        raise InvalidPolicy(
            f"the pattern for thread ids has {len(pattern)} bytes, and may have {LONGEST_PATTERN}"
        )
    literals = wildcards = 0
    segments: list[list[frozenset[int]]] = [[]]
    for token in _TOKEN.finditer(pattern):
        kind = token.lastgroup or ""
        text = token[kind]
        literals += kind in ("escaped", "literal")
        wildcards += kind not in ("escaped", "literal")
        if kind == "any":
            segments.append([])
        elif kind == "one":
            segments[-1].append(_ALL_BYTES)
        elif kind == "set":
            segments[-1].append(_set(pattern, text))
        else:
            segments[-1].append(frozenset(text))
    return Glob(literals, wildcards, tuple(_segment(parts) for parts in segments))


def _segment(parts: list[frozenset[int]]) -> Segment:
    if all(len(allowed) == 1 for allowed in parts):
        return bytes(byte for allowed in parts for byte in allowed)
    return tuple(parts)


def _set(pattern: bytes, inner: bytes) -> frozenset[int]:
    negated = inner.startswith(b"^")
    members: set[int] = set()
    spans = list(_RANGE.finditer(inner[negated:]))
    for span in spans:
        first, last = span["first"] or span["single"], span["last"] or span["single"]
        members.update(range(first[0], last[0] + 1))
        if last < first:
            spans.clear()
            break
    if not spans:
        shown = pattern.decode("utf-8", "replace")
        raise InvalidPolicy(f"the pattern {shown!r} has a set in brackets that matches nothing")
    return _ALL_BYTES - members if negated else frozenset(members)
