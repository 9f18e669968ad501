"""The gate, which decides whether somebody speaks: voice activity, noise floor, syllables, known noises; the wake word.

gate.Gate takes the frames of the ears, each judged by a detector from vad.py; wakeword.WakeWord listens beside it.
Only app, cli, conversation, doctor, recorder, setup and tuning import it.
"""
