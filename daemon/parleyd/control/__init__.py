"""The control socket: its protocol, the server in the daemon, and the client for commands.

`parleyd run` builds server.ControlServer with a commands.Commands; every other program uses client.Client, or
follower.Follower if it runs beside the daemon. Only button, chat, cli, doctor, mqtt, setup and wyoming import it.
"""
