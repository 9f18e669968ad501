"""A whole conversation on one machine: the real daemon, the embedded agent, an actor at the microphone."""
