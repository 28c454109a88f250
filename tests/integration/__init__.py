"""The engine, the real savers and real servers together."""
