"""The program that Home Assistant finds as a target of announcements, by the Wyoming protocol.

`parleyd wyoming` runs server.Server, a client of the daemon's control socket; target.Target decides what is answered
and played, and wire.py reads the protocol within bounds. Only cli imports it.
"""
