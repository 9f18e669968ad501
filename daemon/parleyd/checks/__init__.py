"""What a configuration asks of the machine it is read on: packages, programs, files, credentials and sound devices.

`parleyd check` and the doctor call this_machine.missing(); the daemon does not, since each of its parts says the same
when it cannot start. Only faces (cli, doctor) may import this room.
"""
