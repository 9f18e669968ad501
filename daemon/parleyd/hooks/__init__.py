"""Hooks: commands of the user's own that are run when something happens, see docs/hooks.md.

app builds hooks.Hooks, starts and stops it, and gives it the new list after a reload; the events come to it as to every
subscriber of the bus. Only app imports it.
"""
