"""Real Redis and Valkey servers for the tests, fetched and started without root."""
