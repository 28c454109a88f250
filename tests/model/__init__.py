"""An oracle for the trims: plain rules, random threads, and snapshots to compare.

Nothing here knows how the engine works. `rules` says what must be retained and
deleted, `threads` invents databases, `snapshot` reads them back.
"""
