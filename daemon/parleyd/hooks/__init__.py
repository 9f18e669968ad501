"""Hooks: commands of the user's own that are run when something happens, see docs/hooks.md.

The application builds hooks.Hooks, starts and stops it, and gives it the new list after a reload; everything else it
learns as a subscriber of the bus. Only app/ and the packages above may import it; hooks know no other feature.
"""
