"""The control socket: messages (the protocol), the server in the daemon, the client of the commands."""
