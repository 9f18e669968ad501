"""Faults of line, server, machine and process, thrown at running daemons, with books of every 20 ms that was said.

`scripts/chaos` is the long form, test_chaos.py the short one; docs/testing.md tells what is promised and counted.
Nothing here imports the daemon: it is seen from outside, through its microphone, its speaker, its line, its control
socket, its log and /proc.
"""
