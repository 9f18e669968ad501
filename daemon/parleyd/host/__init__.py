"""The operating system and nothing else: files, signals, processes, the network, journald, systemd."""
