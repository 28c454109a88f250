"""Trim at a distance: what round trips cost when there is a network in between."""

from __future__ import annotations

import statistics

from benchmarks import trim
from benchmarks.lab import Lab, Say, opened
from benchmarks.measure import Meter, interleaved, short
from benchmarks.proxy import SlowNetwork
from benchmarks.report import Section
from benchmarks.scale import Scale
from benchmarks.ways import DEFAULT, FLOOR, INDEXED, PRUNE, UNSEEN

ABOUT = """\
As Trim, with a TCP proxy on the loopback between the clients and the server, a process of its own
that holds back every chunk of bytes for 1 ms, on its way there and again on its
way back: 2 ms for a round trip. Chunks do not wait for each other, so throughput
is not limited. What a PING really takes through it is measured and shown. Threads are written and
checked past the proxy. There are no other threads."""

DELAY_MS = 1.0
_PINGS = 50


def measure(server: str, scale: Scale, say: Say) -> Section:
    """Trim threads of several sizes through a slow network."""
    section = Section("At a distance", ABOUT)
    names = (DEFAULT, UNSEEN, INDEXED, PRUNE, FLOOR)
    with opened(server) as near, SlowNetwork(near.server.port, DELAY_MS) as network:
        lab = Lab(near.server, network.port)
        trim.warm_up(lab, names)
        for size, repeats in scale.distant.items():
            say(f"{size:,} checkpoints")
            samples = interleaved(trim.trims(lab, size, names), repeats)
            where = f"{DELAY_MS:g} ms each way (a PING takes {_ping_ms(lab)} ms)"
            trim.add(section, size, where, samples)
        lab.close()
    return section


def _ping_ms(lab: Lab) -> str:
    meter = Meter(lab.admin)
    pings = [meter.measure(lab.client.ping).wall_ms for _ in range(_PINGS)]
    return short(statistics.median(pings))
