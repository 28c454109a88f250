"""Measures redis-retention beside what people use today and beside what Redis can do at best.

``python -m benchmarks`` is a quick run, ``python -m benchmarks --full`` the whole one. Both write
``RESULTS.md`` and ``RESULTS.json`` beside this file.
"""
