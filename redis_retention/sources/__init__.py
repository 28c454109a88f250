"""Where checkpoint keys come from: SCAN, and the server's own events."""
