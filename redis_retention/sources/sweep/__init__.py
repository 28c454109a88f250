"""Works off backlogs: one pass over the database, whatever its size, within a bound of memory.

Each page of SCAN is compared with what the indexes of its threads say, here and not on the server
(`pages`, `known`): a key that needs nothing costs the server no more than the SCAN itself. A thread
that has too many checkpoints is trimmed when its index is read (`indexed`). Of threads without an
index the names of the root checkpoints are collected, since most of these are about to be deleted,
and passed to one trim when all keys are scanned (`new`). What the names cannot tell, the server
inspects (``lua/sweep/inspect.lua``); what has no checkpoint is deleted in the end (`orphans`).

A second pass is made only if the first has met something that it could not bring to an end. What
was written meanwhile is found by the next sweep, and a sweep that was interrupted is simply begun
anew.

Where several storage formats are served, each has a sweep of its own (`formats`). The first one
notes of which others there is something (`others`).
"""

from redis_retention.sources.sweep.dry_run import sweep_formats_dry
from redis_retention.sources.sweep.formats import sweep_formats
from redis_retention.sources.sweep.progress import Progress, Stage, SweepResult
from redis_retention.sources.sweep.sweeper import Sweeper

__all__ = ["Progress", "Stage", "SweepResult", "Sweeper", "sweep_formats", "sweep_formats_dry"]
