"""Patterns for thread ids, in Python and in Lua."""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st
from lupa.lua51 import LuaRuntime

from redis_retention import InvalidPolicy
from redis_retention.glob import LONGEST_PATTERN, parse
from redis_retention.layouts import LONGEST_THREAD
from redis_retention.scripts import lua_folder

_LUA = LuaRuntime(encoding=None)
_GLOB = _LUA.execute((lua_folder() / "include" / "glob.lua").read_bytes())

PATTERNS = st.lists(
    st.sampled_from([*"abc*?\\%^-.$\n", "[ab]", "[^a-c]", "[a]", "[%a]", "\0", "[a-]"]), min_size=1
).map(lambda parts: "".join(parts).encode())
IDS = st.text("abc*?\\%^-.$[]\n\0", max_size=8).map(str.encode)


def in_lua(pattern: bytes, thread: bytes) -> bool:
    matches: bool = _GLOB[b"matches"](_GLOB[b"parse"](pattern), thread)
    return matches


def by_the_letter(pattern: bytes, thread: bytes) -> bool:
    """All ways are tried: slow, and plainly right."""
    if not pattern:
        return not thread
    if pattern[:1] == b"*":
        return any(by_the_letter(pattern[1:], thread[at:]) for at in range(len(thread) + 1))
    length = 1
    if pattern[:1] == b"\\" and len(pattern) > 1:
        length = 2
    elif pattern[:1] == b"[" and b"]" in pattern:
        length = pattern.index(b"]") + 1
    here = parse(pattern[:length])
    return (
        thread != b"" and here.matches(thread[:1]) and by_the_letter(pattern[length:], thread[1:])
    )


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        (b"*", [b"", b"a:b"], []),
        (b"user-*", [b"user-", b"user-7"], [b"User-7", b"user"]),
        (b"*-eu-*", [b"a-eu-b", b"-eu--eu-"], [b"-eu", b"eu-"]),
        (b"*ab*ba*", [b"abba", b"xabyba"], [b"aba"]),
        (b"a?c", [b"abc", b"a\nc"], [b"ac", b"abbc"]),
        (b"[a-c]x", [b"ax", b"cx"], [b"dx", b"-x"]),
        (b"[^a-c]", [b"d"], [b"b", b""]),
        (b"a[b", [b"a[b"], [b"ab"]),
        (rb"\*", [b"*"], [b"a"]),
        (b"a*a", [b"aa", b"aba"], [b"a"]),
        (b"*?[ab]", [b"xa", b"xyb"], [b"a", b"xc"]),
    ],
)
def test_what_matches(pattern: bytes, yes: list[bytes], no: list[bytes]) -> None:
    for thread in yes:
        assert (parse(pattern).matches(thread), in_lua(pattern, thread)) == (True, True)
    for thread in no:
        assert (parse(pattern).matches(thread), in_lua(pattern, thread)) == (False, False)


@given(PATTERNS, IDS)
def test_both_match_what_the_pattern_says(pattern: bytes, thread: bytes) -> None:
    expected = by_the_letter(pattern, thread)
    assert (parse(pattern).matches(thread), in_lua(pattern, thread)) == (expected, expected)


@pytest.mark.parametrize("pattern", [b"*", b"a?c*", b"[a-c]*x", b"*-*-x", rb"\*a"])
def test_as_redis_does(stack: redis.Redis, pattern: bytes) -> None:
    threads = [b"a", b"abc", b"abcd", b"bx", b"a-b-x", b"*a", b"--x", b"[a-c]"]
    stack.mset(dict.fromkeys(threads, b""))
    assert set(stack.keys(pattern)) == {name for name in threads if parse(pattern).matches(name)}


HOSTILE = [
    (b"*-*-*-*-*-prod", b"-" * LONGEST_THREAD),
    (b"*a" * 100 + b"*b", b"a" * LONGEST_THREAD),
    (b"*" + b"a" * 200 + b"b*", b"a" * LONGEST_THREAD),
    (b"*" + b"?" * 100 + b"[b]*", b"a" * LONGEST_THREAD),
    (b"*[a]" * 60 + b"*[b]*", b"a" * LONGEST_THREAD),
]


def lua_steps(pattern: bytes, thread: bytes) -> int:
    """Instructions of Lua's machine."""
    counted = _LUA.execute(
        b"""
        return function(glob, pattern, thread)
          local steps = 0
          debug.sethook(function() steps = steps + 1 end, "", 1)
          glob.matches(glob.parse(pattern), thread)
          debug.sethook()
          return steps
        end
        """
    )(_GLOB, pattern, thread)
    return int(counted)


def python_steps(pattern: bytes, thread: bytes) -> int:
    """Lines of Python."""
    lines = 0

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal lines
        lines += event == "line"
        return trace

    glob = parse(pattern)
    before = sys.gettrace()
    sys.settrace(trace)
    try:
        glob.matches(thread)
    finally:
        sys.settrace(before)
    return lines


@pytest.mark.parametrize(("pattern", "thread"), HOSTILE)
def test_steps_are_bounded_by_the_lengths(pattern: bytes, thread: bytes) -> None:
    bound = 25 * (len(pattern) + 1) * (len(thread) + 1)
    assert lua_steps(pattern, thread) < bound
    assert python_steps(pattern, thread) < bound


@given(
    st.lists(st.sampled_from([b"*", b"a", b"?", b"[ab]", b"b"]), min_size=1, max_size=60),
    st.text("ab", max_size=300).map(str.encode),
)
def test_steps_are_bounded_for_any(parts: list[bytes], thread: bytes) -> None:
    pattern = b"".join(parts)
    assert lua_steps(pattern, thread) < 200 + 25 * (len(pattern) + 1) * (len(thread) + 1)


def test_a_pattern_may_be_so_long() -> None:
    assert parse(b"a" * LONGEST_PATTERN).exact
    with pytest.raises(InvalidPolicy, match=f"may have {LONGEST_PATTERN}"):
        parse(b"a" * (LONGEST_PATTERN + 1))
