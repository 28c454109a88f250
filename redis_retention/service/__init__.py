"""The service: the listener and the sweeper in one process, for a year."""
