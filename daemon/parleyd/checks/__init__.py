"""Checks of a configuration besides its types: rules between keys, and the needs that this machine has to meet.

configuration.load() reads a file and checks all rules. this_machine.missing() lists the packages, programs, files,
credentials and sound devices that do not exist; `parleyd check` and the doctor call it. The daemon does not, because
each of its parts reports the same problem when it cannot start. Only app, cli, doctor, mqtt and setup import it.
"""
