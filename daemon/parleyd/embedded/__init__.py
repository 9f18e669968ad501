"""The embedded agent: a server that speaks the ElevenLabs Agents protocol on loopback, with real ears and a real voice.

server: LocalAgent, the entry point. conversation: the turns of one client. script: the steps of a scenario. hearing,
recognise: speech recognition. voice, spoken, mouth: speech output. replies: the answers. record: the events for tests.
"""
