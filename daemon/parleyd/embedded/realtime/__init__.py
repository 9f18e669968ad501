"""The embedded agent's second front: the OpenAI Realtime protocol, on the same ears, voice, replies and scenarios.

From outside, front.Front serves the connection of one client, and http.Http answers requests for models and for
speech; items.WIRE_RATE_HZ is the rate of the sound. protocol: the state machine of the protocol, from messages to
actions; actions: their types. client_messages: the shapes of a client's messages. session: the settings of a session.
items: the conversation. response: one answer as events. thinking: the choice of an answer by the script. history,
answering: the answer of a language model. tokens: the cost of a response. wire_formats: sound.
Only server imports it.
"""
