"""The command line. A command is a module beside this file and a line in `COMMANDS`."""

from __future__ import annotations

import io
import sys
from importlib import import_module
from typing import Any, NoReturn

import click
from redis.exceptions import RedisClusterException, RedisError

from redis_retention import __version__
from redis_retention.cli.connection import Settings
from redis_retention.cli.options import global_options
from redis_retention.errors import RetentionError
from redis_retention.explaining import explain
from redis_retention.policy import InvalidPolicy

COMMANDS = {
    "trim": "trim:trim",
    "plan": "plan:plan",
    "policy": "policy:policy",
    "pin": "pins:pin",
    "unpin": "pins:unpin",
    "pins": "pins:pins",
    "sweep": "sweep:sweep",
    "listen": "listen:listen",
    "run": "run:run",
    "serve": "serve:serve",
    "stats": "stats:stats",
    "doctor": "doctor:doctor",
    "demo": "demo:demo",
}
"""The module and the name in it of each command, in the order of the help."""

INTERRUPTED = 130


class Commands(click.Group):
    """Loads a command when it is asked for, and reports every failure in one line."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """All commands, in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """The command of a name, None when there is none."""
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(import_module(f"{__name__}.{module}"), name)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; what goes wrong becomes a `click.ClickException`."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            sys.exit(INTERRUPTED)
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except InvalidPolicy as error:
            raise click.UsageError(str(error)) from error
        except (RedisError, RedisClusterException, RetentionError, OSError) as error:
            url = ctx.ensure_object(Settings).url
            raise click.ClickException(explain(error, url)) from error
        except Exception as error:
            raise click.ClickException(_bug(error)) from error

    def main(self, *arguments: Any, **options: Any) -> NoReturn:
        """Run the program and exit."""
        _print_any_text()
        try:
            status = super().main(*arguments, **{**options, "standalone_mode": False})
        except click.ClickException as error:
            click.echo(f"error: {_one_line(error)}", err=True)
            sys.exit(error.exit_code)
        except click.Abort:
            sys.exit(INTERRUPTED)
        sys.exit(status if isinstance(status, int) else 0)


def _bug(error: Exception) -> str:
    if sys.flags.dev_mode:
        raise error
    return (
        f"this is a bug, please report it: {type(error).__name__}: {error} "
        "(PYTHONDEVMODE=1 shows where it happened)"
    )


def _one_line(error: click.ClickException) -> str:
    message = " ".join(error.format_message().split())
    if isinstance(error, click.UsageError) and error.ctx is not None:
        return f"{message.rstrip('.')} (see `{error.ctx.command_path} --help`)"
    return message


def _print_any_text() -> None:
    """Let ids be printed that the terminal's encoding has no characters for."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


@click.group(
    cls=Commands,
    name="redis-retention",
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, message="%(prog)s %(version)s")
@global_options(from_environment=True)
@click.pass_context
def main(ctx: click.Context) -> None:
    """Trim the LangGraph checkpoints in Redis without breaking a thread.

    Try `redis-retention demo`: it needs no server.
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help(), err=True)
        ctx.exit(click.UsageError.exit_code)
