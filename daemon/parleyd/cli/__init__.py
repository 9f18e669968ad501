"""The commands. Each module is one; main.py is their list."""
