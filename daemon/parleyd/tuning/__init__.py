"""`parleyd tune`: measures how microphone, room and gate work together, and says which settings to change.

recording takes the sound, rehearsal runs the gate over it, advice words the result, and picture draws it. The demo
draws with its plotting, and the doctor records and judges with it. Only cli, demo, doctor and setup import it.
"""
