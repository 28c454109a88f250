"""An oracle for the trims: plain rules, random threads, and snapshots to compare.

Nothing here knows how the engine works. `rules` says what must stay and what must go,
`threads` invents databases, `snapshot` reads them back.
"""
