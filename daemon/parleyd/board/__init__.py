"""`parleyd bench`: what the daemon costs on this board, as a line for the table in docs/measurements/boards.md.

facts.py reads what kind of machine it is, and row.py makes the line; the measuring is done by the command. Only cli
imports it.
"""
