"""ElevenLabs Agents over WebSocket: typed messages, a pure codec, address and authentication, how sessions end.

agent.ElevenLabsAgent is the provider, speech.ElevenLabsSpeech its voice for announcements and for the embedded agent.
The codec consists of reader.Reader, which reads the messages, and of answers.Answers, which tells one answer from the
next. Only app, embedded and platform import it.
"""
