"""The sweeper, on real servers."""
