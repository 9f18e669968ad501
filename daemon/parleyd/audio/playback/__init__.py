"""The agent's voice, earcons and announcements → the speaker. Playback is what is called from outside."""
