"""`parleyd doctor`: what usually breaks on a small board, found before it is searched for.

A file for each group of checks. In it, probes ask the machine, and judges make findings of plain values; table.py
says in which order, and what needs what. Only the standard library is imported when these files are: a broken
installation is one of the things to be found.
"""
