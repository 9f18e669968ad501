"""The OpenAI Realtime protocol, as OpenAI and many other servers speak it: a pure codec, address, and how sessions end.

agent.OpenAIAgent is the provider, speech.OpenAISpeech its voice for announcements; session_settings.py says what a
session asks for. Only app imports it.
"""
