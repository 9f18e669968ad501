"""The transcript: turns, redaction, files."""
