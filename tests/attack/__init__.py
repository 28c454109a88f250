"""Attacks on the engine, as a stranger would make them; `python -m tests.attack` runs them all."""
