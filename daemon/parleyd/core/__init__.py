"""What everybody may know, and what imports nothing of the package: events, states, endings, errors, texts, health.

Pure, but for the pulse of a thread, which looks at the clock.
"""
