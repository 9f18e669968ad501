"""Types that every package may use: events, states, endings, errors, texts, health.

They import no other package, and are pure, except for the pulse of a thread, which reads the clock. Every higher
package may import it.
"""
