"""Types that every package may use, and that import no other package: events, states, endings, errors, texts, health.

Pure, except for the pulse of a thread, which reads the clock.
"""
