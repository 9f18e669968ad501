"""Makes frames of 20 ms at 16 kHz from a device's periods, aligned with the clock; the gain of a soft microphone.

capture.Capture is the microphone for all others; gain_keeper.py and input_gain.py serve it. join.py joins two streams
of one microphone without losing a sample. Only app, recovery and tuning import it.
"""
