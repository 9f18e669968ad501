"""The demo: a whole conversation on one machine, with the real daemon, the embedded agent, and an actor who speaks.

`parleyd demo` sets the stage (stage, actor, play), and prints and draws what happened (timeline, facts, picture, page).
Only cli imports it.
"""
