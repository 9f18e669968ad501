"""A conversation in writing, in a terminal or through a pipe.

link: where the agent is reached · view: what of the events is shown · wrap, screen: how · prompt: what is typed ·
talk: both together · pipe: without a terminal.
"""
