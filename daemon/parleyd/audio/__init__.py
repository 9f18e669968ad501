"""The path of the sound: microphone → devices → capture → echo → gate, and answers → playback → devices → speaker.

These packages are independent of the conversation; the application (app/) connects them with it.
"""
