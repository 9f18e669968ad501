"""The minds of the embedded agent: what it answers, apart from the protocol, the ears and the voice.

parts has the interface. scripted is the mind without a model: fixed answers, and the rules of a scenario.
language_model asks a model by its address, language_mind holds a conversation with it; speakable and pieces make speech
of the text that it writes. choice makes the one that the settings ask for. Only conversation, realtime and server
import it.
"""
