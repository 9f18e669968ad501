"""The commands, one in each module; main.py has the list."""
