"""Pieces that need no server."""
