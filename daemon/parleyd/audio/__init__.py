"""The way of the sound: microphone → devices → capture → echo → gate, and answers → playback → devices → speaker.

Nothing here knows what is said, or to whom. The application (app/) connects it with the conversation.
"""
