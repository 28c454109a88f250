"""The options of the HTTP API, of `serve` and of `run`."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

import click

from redis_retention.cli.options import Function, together

DEFAULT_ADDRESS = "127.0.0.1:8378"

TOKEN_VARIABLE = "REDIS_RETENTION_TOKEN"

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True)
class Address:
    """An address to listen on.

    Attributes:
        host: An address of this machine, or a name of it.
        port: The port, 0 for any free one.
    """

    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """Whether only programs on this machine get there."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


@dataclass(frozen=True, slots=True)
class HttpOptions:
    """How to serve the HTTP API.

    Attributes:
        address: Where to listen.
        token: What those who call have to know, None for nothing.
        read_only: Nothing may be changed.
        hosts: The names by which it may be called, None for any.
    """

    address: Address
    token: str | None
    read_only: bool
    hosts: frozenset[str] | None


def as_address(value: str) -> Address:
    """Host and port, as in ``127.0.0.1:8378`` or ``[::1]:8378``."""
    try:
        parts = urlsplit(f"//{value}")
        host, port = parts.hostname, parts.port
        if host is not None and port is not None and parts.netloc == value and "@" not in value:
            return Address(host, port)
    except ValueError:
        pass
    raise click.BadParameter(f"{value!r} is not an address such as {DEFAULT_ADDRESS}.")


def http_options(*, default: str | None) -> Callable[[Function], Function]:
    """The options of the HTTP API.

    Args:
        default: Where it is served if nothing is said, None for nowhere.
    """
    shown = f"  [default: {default}]" if default else ""

    return together(
        click.option(
            "--http",
            metavar="HOST:PORT",
            type=as_address,
            default=default,
            help="Where to serve the HTTP API and its page; port 0 for any free one. "
            f"Anything but a loopback address needs a token.{shown}",
        ),
        click.option(
            "--token-file",
            metavar="FILE",
            type=click.Path(exists=True, dir_okay=False, path_type=Path),
            help="A file with the token that those who call must send.  "
            f"[env var: {TOKEN_VARIABLE} for the token itself]",
        ),
        click.option("--read-only", is_flag=True, help="Let the HTTP API change nothing."),
        click.option(
            "--allow-host",
            metavar="NAMES",
            help="Names by which the HTTP API may be called, beside this machine's own; "
            "several with commas.",
        ),
    )


def http_of(
    http: Address | None, token_file: Path | None, read_only: bool, allow_host: str | None
) -> HttpOptions | None:
    """What the options say; None when nothing is to be served.

    Raises:
        click.UsageError: Others could reach it without a token.
    """
    if http is None:
        return None
    token = _token(token_file)
    if token is None and not http.is_loopback:
        raise click.UsageError(
            f"{http.host} can be reached by others: give a token, with --token-file or in "
            f"{TOKEN_VARIABLE}, or listen on {DEFAULT_ADDRESS}"
        )
    names = frozenset(name.strip().lower() for name in (allow_host or "").split(",")) - {""}
    hosts = names | _LOOPBACK | {http.host} if token is None or names else None
    return HttpOptions(http, token, read_only, hosts)


def _token(path: Path | None) -> str | None:
    token = os.environ.get(TOKEN_VARIABLE)
    source = f"the token in {TOKEN_VARIABLE}"
    if path is not None:
        source = f"the token in {path}"
        try:
            token = path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise click.UsageError(f"{source} cannot be read: {error}") from error
    if token is None:
        return None
    if not token.isascii() or not token.isprintable() or not token or " " in token:
        raise click.UsageError(f"{source} must be one word of ASCII characters")
    return token
