"""Failures in one line: what is wrong, and what to do about it."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from redis.exceptions import AuthenticationError, InvalidResponse, RedisClusterException, RedisError
from redis.exceptions import ConnectionError as ConnectionFailed
from redis.exceptions import TimeoutError as NoAnswer

from redis_retention.errors import RetentionError

_REFUSALS = {
    r"ReadOnlyError": "{server} is a read-only replica: use the address of its primary",
    r"OutOfMemoryError|OOM ": (
        "{server} is out of memory (`maxmemory`) and refuses to write: raise the limit, or free "
        "memory first"
    ),
    r"MISCONF": (
        "{server} refuses writes because it cannot save to its disk: see its log and mend that "
        "first"
    ),
    r"NOREPLICAS": (
        "{server} refuses writes because too few of its replicas are there "
        "(`min-replicas-to-write`)"
    ),
    r"BusyLoadingError": "{server} is still loading its data: try again in a moment",
    r"MasterDownError": (
        "{server} is a replica that has lost its primary: use the primary's address"
    ),
    r"ClusterDownError|slots are not covered": (
        "the cluster of {server} is down: some slots are not served, see `CLUSTER INFO`"
    ),
    r"CrossSlot|same key slot|same slot": (
        "in a cluster all keys of a thread must share one slot: give its thread id a hash tag, "
        "as in {{customer-7}}:chat"
    ),
    r"MovedError|AskError|TryAgainError": (
        "{server} is moving slots to another node: try again in a moment"
    ),
    r"NoPermissionError|can't run this command|can't access": (
        "the Redis user lacks a permission: {reply}; grant it with ACL SETUSER"
    ),
    r"WRONGPASS|invalid (username-)?password|invalid username": (
        "{server} refuses the user or the password in the URL: redis://user:password@host"
    ),
    r"NOAUTH|Authentication required|client already authenticated": (
        "{server} wants a password: put it into the URL, redis://:password@host"
    ),
    r"without any password configured": "{server} has no password set: take it out of the URL",
    r"(DB index is out of range|invalid DB index|SELECT is not allowed)": (
        "{server} does not have the database of that number: the URL ends with /0 for the first"
    ),
    r"BUSY ": "{server} is busy with somebody's script: try again, or end it with SCRIPT KILL",
    r"max number of clients": (
        "{server} has no connection left (`maxclients`): try again in a moment"
    ),
    r"protected mode": (
        "{server} is in protected mode and lets nobody in from elsewhere: give it a password, "
        "and put it into the URL"
    ),
    r"CERTIFICATE_VERIFY_FAILED|certificate verify failed": (
        "the certificate of {server} cannot be verified: add ?ssl_ca_certs=FILE to the URL"
    ),
    r"\[SSL|SSL: |SSLError|WRONG_VERSION_NUMBER|record layer failure": (
        "{server} does not speak TLS as asked for: without TLS the URL begins with redis://"
    ),
}
"""What the name or the text of an error contains, and what to say then."""

_UNREACHABLE = {
    r"Name or service not known|nodename nor servname|getaddrinfo|No address associated": (
        "the host of {server} is unknown: check the URL"
    ),
    r"refused": "nothing listens at {server}: start the server there, or check the URL",
    r"timed out|Timeout": "{server} cannot be reached in time: check the URL and the firewall",
    r"closed by server|reset by peer|Connection lost": (
        "{server} closed the connection: if it speaks TLS, the URL begins with rediss://; else "
        "see its log"
    ),
}
"""What a failed connection means, by what its error says."""

# How hiredis names the first byte of a TLS alert.
_TLS_ALERT = r'got "\x15"'


def explain(error: Exception, url: str) -> str:
    """Say in one line what went wrong and what to do.

    Args:
        error: What was raised.
        url: The server's URL; its password is not shown.
    """
    if isinstance(error, RetentionError):
        return str(error)
    server, reply = address(url), _one_line(error)
    if not isinstance(error, RedisError | RedisClusterException):
        return reply
    for pattern, sentence in _REFUSALS.items():
        if re.search(pattern, f"{type(error).__name__} {reply}"):
            return sentence.format(server=server, reply=reply)
    if isinstance(error, InvalidResponse):
        if _TLS_ALERT in reply:
            return f"{server} wants TLS: the URL begins with rediss://"
        return f"what answers at {server} is not a Redis server: check host and port in the URL"
    if isinstance(error, NoAnswer):
        tls = ", that it speaks TLS, as rediss:// says," if url.startswith("rediss:") else ""
        return f"{server} does not answer: check that it is a Redis server{tls} and not busy"
    if isinstance(error, ConnectionFailed) and not isinstance(error, AuthenticationError):
        for pattern, sentence in _UNREACHABLE.items():
            if re.search(pattern, reply):
                return sentence.format(server=server)
        return f"{server} cannot be reached: {reply}; check the URL"
    return f"{server} refuses: {reply}"


def address(url: str) -> str:
    """Host and port of a URL, or the path of a socket."""
    try:
        parts = urlsplit(url)
        if parts.scheme == "unix":
            return parts.path
        host = parts.hostname or "localhost"
        return f"{f'[{host}]' if ':' in host else host}:{parts.port or 6379}"
    except ValueError:
        return "the server"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
