"""Microphones and speakers: PortAudio, WAV files, or nothing.

device.py has the interface that the others implement, and names.py finds a device by its name. Everything else here is
about one kind of device. Only app, capture, chat, checks, cli, demo, doctor, earcons, mixer, playback, recovery,
setup and tuning import it.
"""
