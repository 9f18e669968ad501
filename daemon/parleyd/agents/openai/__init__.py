"""The OpenAI Realtime protocol over WebSocket, as OpenAI and many other servers speak it.

agent.OpenAIAgent is the provider, speech.OpenAISpeech its voice for announcements. The codec consists of
requests.Requests, which asks for one response at a time, and of answers.Answers, which knows how much of each has come.
Only app imports it.
"""
