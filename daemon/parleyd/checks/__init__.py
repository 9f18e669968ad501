"""What a configuration has to keep beside its types: rules between keys, and what it asks of this machine.

configuration.load() reads a file and holds it against all rules. this_machine.missing() says which packages, programs,
files, credentials and sound devices are not there; `parleyd check` and the doctor call it, the daemon does not, since
each of its parts says the same when it cannot start.
"""
