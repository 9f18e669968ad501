"""The agent's voice, earcons and announcements, on their way to the speaker.

playback.Playback is the entry point, mix.Mix the pure object behind it, and speaker.Speaker the device. The other
modules are parts of the mix. Only announce, app, conversation, echo, mixer and recovery import it.
"""
