"""`parleyd tune`: how the microphone, the room and the gate get on with each other, and what to change."""
