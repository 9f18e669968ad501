"""Profiles: named changes to the configuration, for hours of the day or by command, see docs/profiles.md.

profiles.Profiles decides which profile is in force and applies it; control asks it to choose another. Only app, cli and
control import it.
"""
