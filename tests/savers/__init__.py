"""Savers other than Python's, by what they write and read."""
