"""Commands that run for long: configured by flags, by the environment and by a file.

The same names everywhere: ``--keep-last 10``, ``REDIS_RETENTION_KEEP_LAST=10``, and in the TOML
file ``keep-last = 10``. A flag counts before the environment, the environment before the file.
What may be given several times is a list in the file, and has semicolons in the environment.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from redis_retention.errors import RetentionError

_ARGUMENTS = "redis_retention.arguments"
_VARIABLE = "REDIS_RETENTION_"
# They say where and how to read the others, or what to do instead.
_NOT_IN_FILE = {"config", "help", "json"}


def config_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """The option that names the file."""
    return click.option(
        "--config",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        metavar="FILE",
        envvar=f"{_VARIABLE}CONFIG",
        show_envvar=True,
        is_eager=True,
        expose_value=False,
        callback=_take_defaults,
        help="A TOML file with any of these options.",
    )(function)


class Configured(click.Command):
    """A command that serves, by options that can be read again while it does.

    The function that is decorated makes the options of its arguments; `serve` gets them, and a
    function that reads them again.
    """

    def __init__(self, *arguments: Any, serve: Callable[..., Any], **attributes: Any) -> None:
        super().__init__(*arguments, **attributes)
        self._serve = serve

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep the arguments, to read them again."""
        ctx.meta[_ARGUMENTS] = list(args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Read the options and serve by them."""
        arguments = ctx.meta[_ARGUMENTS]

        def read() -> Any:
            with self.make_context(ctx.info_name, list(arguments), parent=ctx.parent) as again:
                return super(Configured, self).invoke(again)

        return self._serve(super().invoke(ctx), read)


def _take_defaults(ctx: click.Context, _: click.Parameter, path: Path | None) -> None:
    """Let the environment, and then the file, say what no flag says."""
    names = {_name(option): option for option in _options(ctx)}
    defaults = {} if path is None else _from_file(path, names)
    for name, option in names.items():
        value = os.environ.get(_VARIABLE + name.upper().replace("-", "_"))
        if value:
            defaults[option.name or name] = value.split(";") if option.multiple else value
    for name in [name for name in defaults if _is_given_to_program(ctx, name)]:
        del defaults[name]
    ctx.default_map = defaults


def _options(ctx: click.Context) -> Iterable[click.Option]:
    for option in ctx.command.get_params(ctx):
        if isinstance(option, click.Option) and option.name not in _NOT_IN_FILE:
            yield option


def _name(option: click.Option) -> str:
    return option.opts[0].removeprefix("--")


def _is_given_to_program(ctx: click.Context, name: str) -> bool:
    """Whether a flag or variable before the command's name has said it already."""
    source = ctx.parent.get_parameter_source(name) if ctx.parent is not None else None
    return source in (ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT)


def _from_file(path: Path, names: dict[str, click.Option]) -> dict[str, Any]:
    read = _read_toml(path)
    defaults: dict[str, Any] = {}
    for key, value in read.items():
        option = names.get(key.replace("_", "-"))
        if option is not None and option.multiple and not isinstance(value, list):
            value = [value]
        if option is None or not _fits(option, value):
            raise click.UsageError(f"{path}: {key!r} is not an option; these are: {_listed(names)}")
        defaults[option.name or key] = _as_given(value)
    return defaults


def _fits(option: click.Option, value: Any) -> bool:
    if option.multiple:
        return all(isinstance(one, str) for one in value)
    return isinstance(value, str | int | float)


def _as_given(value: Any) -> Any:
    """A value of the file as the command line would give it."""
    return value if isinstance(value, bool | list) else str(value)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))


def _read_toml(path: Path) -> dict[str, Any]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        try:
            import tomli as tomllib
        except ImportError as error:
            raise RetentionError(
                "a TOML file needs one more package: pip install 'redis-retention[daemon]'"
            ) from error
    try:
        read: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
        return read
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise click.UsageError(f"{path} is not TOML: {error}") from error
