"""The path of the sound: microphone → devices → capture → echo → gate, and answers → playback → devices → speaker.

Its rooms are independent of the conversation, and app connects the two. The `__init__.py` of each room says what may be
called there. Every higher package may import it, but only app builds capture, echo and playback for the daemon.
"""
