"""The OpenAI Realtime protocol, as OpenAI and many other servers speak it."""
