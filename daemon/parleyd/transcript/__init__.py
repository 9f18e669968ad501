"""The log of what was said: turns, redaction, files."""
