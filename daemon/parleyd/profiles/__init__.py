"""Profiles: named changes to the configuration, for hours of the day or by command. docs/profiles.md."""
