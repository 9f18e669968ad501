"""Microphones and speakers: PortAudio, WAV files, or nothing. device.py says what each of them offers."""
