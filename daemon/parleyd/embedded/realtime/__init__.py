"""The embedded agent's second front: the OpenAI Realtime protocol, on the same ears, voice, replies and scenarios.

front: one client's connection. protocol: the state machine of the protocol, as messages in and actions out.
client_messages: the shapes of a client's messages. session: the settings of a session. items: the conversation.
response: one answer as events. thinking: which answer follows from a conversation. tokens: what it would cost. http:
models and speech over HTTP.
"""
