"""Sessions with an agent, in common terms: session (the line), dialogue (what is said), supervisor (when there is one).

No provider and no sound device is known here.
"""
