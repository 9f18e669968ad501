"""parleyd: a voice daemon for small Linux boxes."""

__version__ = "0.1.0"
