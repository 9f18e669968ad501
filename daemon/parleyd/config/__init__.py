"""The configuration: its schema, the reader of the file with line numbers, secrets, and the effect of a reload.

The sections are plain values in schema.Config. Programs read a file with checks.configuration.load(), because the rules
between keys are there; loader.py is the part of it that knows no rules. Every higher package may import it.
"""
