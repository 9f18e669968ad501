"""`parleyd tune`: measures how microphone, room and gate work together, and says which settings to change."""
