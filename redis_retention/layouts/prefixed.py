"""What formats have in common all of whose keys begin with one prefix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from redis_retention.layouts.layout import Family, SearchIndex


@dataclass(frozen=True, slots=True)
class Prefixed:
    """A format without search indexes, told from others by a prefix.

    Attributes:
        prefix: What all keys of the saver begin with.
    """

    prefix: str

    name: ClassVar[str]

    def __post_init__(self) -> None:
        """Make sure that it can be told which keys are the saver's.

        Raises:
            ValueError: The prefix is empty.
        """
        if not self.prefix:
            raise ValueError("the prefix must not be empty: it tells the saver's keys from others")

    @property
    def tag(self) -> str:
        """The prefix as one part of our own keys, with what tells this format from others."""
        escaped = self.prefix.replace("%", "%25").replace(":", "%3A")
        return f"{self.name}-{escaped}"

    def arguments(self) -> list[str]:
        """The prefix."""
        return [self.prefix, ""]

    def search_indexes(self) -> dict[Family, SearchIndex]:
        """There are none."""
        return {}
