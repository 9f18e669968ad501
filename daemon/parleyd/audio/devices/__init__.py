"""Microphones and speakers: PortAudio, WAV files, or nothing. device.py has their interface."""
