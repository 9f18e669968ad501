"""The embedded agent: a server on loopback with real ears and a real voice, for two protocols.

server: LocalAgent, the entry point. conversation: the turns of one client that speaks the ElevenLabs Agents protocol.
realtime: the same for the OpenAI Realtime protocol. script: the steps of a scenario; convai_steps: those that are
messages of the ElevenLabs protocol. hearing, recognise: speech recognition. voice, spoken, mouth: speech output;
local_speech: the same voice for announcements. synthesisers: whether this machine can speak.
replies: the answers. record: the events for tests. api, posts, uploads: requests over HTTP. platform, past,
voices: the platform around the agent. Only app, checks, cli, mqtt and setup import it.
"""
