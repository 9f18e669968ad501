"""`parleyd doctor`: finds the usual problems of an installation on a small board.

Each file has one group of checks. Probes read the state of the machine, and judges turn plain values into findings;
table.py has the order and the dependencies of the checks. The checks load other packages only when they need them,
because a broken installation is one of the problems to be found. Only cli and setup import it.
"""
