"""Listens to the server's own events, and trims the threads of the documents that they name.

Events are sent once and to nobody who is not there: whatever is lost, because the connection was
cut or because there was no room, is left to a sweep, which the listener asks for.
"""

from redis_retention.sources.keyspace.condition import State
from redis_retention.sources.keyspace.inbox import Change, Inbox
from redis_retention.sources.keyspace.listener import CHECK_SECONDS, Listener

__all__ = ["CHECK_SECONDS", "Change", "Inbox", "Listener", "State"]
