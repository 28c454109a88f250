"""Finds out whether everything works on a server, and whose checkpoints it holds."""

from redis_retention.doctor.doctor import Check, State, events, examine

__all__ = ["Check", "State", "events", "examine"]
