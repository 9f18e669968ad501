"""Decides whether somebody speaks: voice activity, noise floor, syllables, known noises; and the wake word."""
