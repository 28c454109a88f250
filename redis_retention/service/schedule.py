"""When to sweep without being asked: every so often, and at times by the clock on the wall."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

import tzlocal
from cronsim import CronSim, CronSimError

_TIME_OF_DAY = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)", re.ASCII)
_CRON_FIELDS = 5


def as_cron(text: str) -> str:
    """A time of day such as ``02:00``, or a cron expression, as a cron expression.

    Raises:
        ValueError: It is neither, or a time that never comes.
    """
    time_of_day = _TIME_OF_DAY.fullmatch(text.strip())
    if time_of_day is not None:
        return f"{int(time_of_day[2])} {int(time_of_day[1])} * * *"
    fields = text.split()
    try:
        # With a sixth field, the library would take the first for seconds.
        if len(fields) != _CRON_FIELDS:
            raise CronSimError(f"{len(fields)} fields, not {_CRON_FIELDS}")
        next(CronSim(text, datetime.now()))
    except (CronSimError, AssertionError) as error:
        why = f": {str(error)[:1].lower()}{str(error)[1:]}" if str(error) else ""
        raise ValueError(
            f"{text!r} is neither a time of day such as 02:00 nor a cron expression such as "
            f"'0 2 * * mon-fri'{why}"
        ) from error
    except StopIteration as error:
        raise ValueError(f"{text!r} is a time that never comes") from error
    return " ".join(fields)


def as_zone(name: str) -> ZoneInfo:
    """A time zone by its name, as in ``Europe/Berlin``.

    Raises:
        ValueError: There is none of that name on this machine.
    """
    try:
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError) as error:
        raise ValueError(
            f"there is no time zone {name!r} on this machine; say it as in Europe/Berlin or UTC, "
            "and install tzdata where zones are missing"
        ) from error


def local_zone() -> tzinfo:
    """The time zone of this process: that of ``TZ``, or else of the machine.

    Raises:
        ValueError: ``TZ`` names none that this machine knows.
    """
    try:
        return tzlocal.reload_localzone()
    except (LookupError, ValueError, OSError) as error:
        said = os.environ.get("TZ")
        why = f": TZ is {said!r}" if said else ""
        raise ValueError(f"cannot tell the time zone of this machine{why}") from error


@dataclass(frozen=True, slots=True)
class Schedule:
    """When to sweep without being asked.

    A time that the clocks skip comes at the first moment after them, and one that they show twice
    comes at the first.

    Attributes:
        every: How long after the beginning of the last sweep, whoever did it.
        at: At what times: each a time of day or a cron expression, as `as_cron` takes them.
        zone: The time zone of these times.
    """

    every: timedelta | None = None
    at: Sequence[str] = ()
    zone: tzinfo = timezone.utc

    def next_at(self, now: datetime) -> datetime | None:
        """The next of the times after `now`, which has a zone; None without any."""
        return min((_next(as_cron(time), now, self.zone) for time in self.at), default=None)


def _next(cron: str, now: datetime, zone: tzinfo) -> datetime:
    # Where the clocks show a time twice, the library answers with the first, which may be over.
    moments = (moment.astimezone(timezone.utc) for moment in CronSim(cron, now.astimezone(zone)))
    return next(moment for moment in moments if moment > now)
