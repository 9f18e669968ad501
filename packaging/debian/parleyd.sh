#!/bin/sh
# Isolated: what a user has installed for Python does not change the daemon.
exec /usr/lib/parleyd/bin/python3 -I -m parleyd "$@"
