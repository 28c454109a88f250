"""Log lines with fields: for people as text, for programs as one JSON object a line."""

from __future__ import annotations

import json
import logging
import sys
from datetime import datetime, timezone
from typing import Any, ClassVar, Literal, TypeAlias

Format: TypeAlias = Literal["text", "json"]

_ROOT = "redis_retention"


def logger(name: str) -> logging.Logger:
    """The logger of one part of the program."""
    return logging.getLogger(f"{_ROOT}.{name}")


def fields(**values: Any) -> dict[str, dict[str, Any]]:
    """What to hand to a logger as `extra`, for values that stand beside the message."""
    return {"fields": {name: _plain(value) for name, value in values.items()}}


def configure(format: Format, *, verbose: bool = False) -> None:
    """Let this program's log lines appear on stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json() if format == "json" else _Text(colors=sys.stderr.isatty()))
    root = logging.getLogger(_ROOT)
    root.handlers = [handler]
    root.propagate = False
    set_verbose(verbose)


def set_verbose(verbose: bool) -> None:
    """Let also what is only of interest when searching for a fault appear, or no longer."""
    logging.getLogger(_ROOT).setLevel(logging.DEBUG if verbose else logging.INFO)


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return round(value, 6) if isinstance(value, float) else value


def _fields_of(record: logging.LogRecord) -> dict[str, Any]:
    return getattr(record, "fields", {})


def _time_of(record: logging.LogRecord) -> datetime:
    return datetime.fromtimestamp(record.created, timezone.utc)


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": _time_of(record).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            **_fields_of(record),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


class _Text(logging.Formatter):
    _COLORS: ClassVar = {"WARNING": "\x1b[33m", "ERROR": "\x1b[31m", "CRITICAL": "\x1b[31m"}

    def __init__(self, *, colors: bool) -> None:
        super().__init__()
        self._colors = self._COLORS if colors else {}

    def format(self, record: logging.LogRecord) -> str:
        time = _time_of(record).astimezone().strftime("%H:%M:%S")
        shown = [f"{name}={_quoted(value)}" for name, value in _fields_of(record).items()]
        line = "  ".join([f"{time} {record.levelname:<7} {record.getMessage()}", " ".join(shown)])
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        color = self._colors.get(record.levelname)
        return f"{color}{line.rstrip()}\x1b[0m" if color else line.rstrip()


def _quoted(value: Any) -> str:
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if set(text) & set(' "=\n\r\t') else text
