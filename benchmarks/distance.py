"""6. Trim at a distance: what round trips cost when there is a network in between."""

from __future__ import annotations

import statistics
import time

from benchmarks import ours, stall
from benchmarks.lab import Lab, Say, opened
from benchmarks.measure import interleaved, short
from benchmarks.pinger import Pinger
from benchmarks.proxy import SlowNetwork
from benchmarks.report import Section, Table, Target
from benchmarks.scale import KEEP, Scale
from benchmarks.trim import (
    FLOOR,
    INDEXED,
    LOOP,
    PRUNE,
    as_data,
    table_row,
    times_faster,
    variants,
    warm_up,
)
from benchmarks.trim import HEADER as TRIM_HEADER

ABOUT = """\
As Trim, with a TCP proxy on the loopback between the clients and the server, a process of its own
that holds back every chunk of bytes for the time that is said, on its way there and again on its
way back: 1 ms each way is 2 ms for a round trip. Chunks do not wait for each other, so throughput
is not limited. What a PING really takes through it is measured and shown. Threads are written and
checked past the proxy, and the client that sends PING for the stall is beside the server: it
sees what the server does, not the network. There are no other threads. The loop is left out
from 1,000 checkpoints up: it takes some five round trips for each. `prune` makes one round trip
for each checkpoint that goes and two more, we make one for each call: at 36 checkpoints that is 28
to 1, which is as much as any distance can make of it."""

_PINGS = 50
_LONGEST_LOOP = 200
AIM = 40


def measure(server: str, scale: Scale, say: Say) -> Section:
    """Trim threads of several sizes through slow networks."""
    section = Section("At a distance", ABOUT)
    with opened(server) as near:
        ours.load_scripts(near.client)
        for delay in scale.distances:
            with SlowNetwork(near.server.port, delay) as network:
                lab = Lab(near.server, network.port)
                try:
                    warm_up(lab)
                    _add_delay(section, lab, scale, delay, say)
                finally:
                    lab.close()
    return section


def _add_delay(section: Section, lab: Lab, scale: Scale, delay: float, say: Say) -> None:
    ping = _ping_ms(lab)
    where = f", {delay:g} ms each way"
    shown = f"{where} (a PING takes {short(ping)} ms)"
    section.data[f"ping{where}"] = ping
    for size, repeats in scale.distant.items():
        say(f"{size:,} checkpoints{where}")
        names = [PRUNE, FLOOR, INDEXED]
        if size <= _LONGEST_LOOP:
            names.append(LOOP)
        samples = interleaved(variants(lab, size, scale.writes[0], names), repeats)
        rows = [table_row(name, samples) for name in samples]
        section.tables.append(Table(f"{size:,} → {KEEP}{shown}", TRIM_HEADER, rows))
        faster = times_faster(samples, INDEXED) or 0.0
        what = f"{size:,} → {KEEP}{where}: prune to indexed, time"
        section.targets.append(Target(what, faster, AIM, at_least=True))
        section.data[f"{size}{where}"] = as_data(samples)
    size = max(scale.distant)
    say(f"stall, {size:,} checkpoints{where}")
    with Pinger(lab.server.port) as pinger:
        stall.add(
            section, lab, pinger, size, scale.writes[0], scale.distant[size], f"{where}, stall"
        )


def _ping_ms(lab: Lab) -> float:
    def once() -> float:
        begun = time.perf_counter()
        lab.client.ping()
        return (time.perf_counter() - begun) * 1000

    return statistics.median(once() for _ in range(_PINGS))
