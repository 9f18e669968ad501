"""When there is a session: the states and their moves, retries, limits, idle. One thread owns it."""
