"""One session's line: connecting, the WebSocket, what is to be sent, and what is kept until the agent has heard it."""
