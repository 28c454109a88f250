"""The savers that retain, on real servers."""
