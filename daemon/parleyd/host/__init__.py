"""The operating system and nothing else: files, signals, processes, the network, journald, systemd.

Each module is an interface to one part of the system and can be called on its own; none knows what the daemon uses it
for. Every higher package may import it.
"""
