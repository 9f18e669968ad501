"""The control socket: its protocol, the server in the daemon, and the client for commands.

`parleyd run` and the demo build server.ControlServer with a commands.Commands; every other program uses client.Client
and the texts of messages. Only the packages above (button, chat, demo, doctor, cli) may import it, and the server knows
the daemon only through commands.Commands.
"""
