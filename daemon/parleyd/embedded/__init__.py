"""The embedded agent: a server that speaks the ElevenLabs Agents protocol on loopback, with real ears and a real voice.

server: LocalAgent, the way in · conversation: one client's turns · script: what a scenario makes of it ·
hearing, recognise: ears · voice, spoken: mouth · replies: what it answers · record: what tests look at.
"""
