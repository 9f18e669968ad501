"""The transcript: the turns of a conversation, redaction, and the files.

writer.TranscriptWriter follows the bus and writes on a thread of its own; reading.py is for `parleyd transcript`, and
redaction.py for the rules of the configuration. Only app, checks, cli and control
import it.
"""
