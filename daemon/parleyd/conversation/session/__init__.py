"""One session's line: the connection, the WebSocket, the sound to be sent, and the speech that is kept until it is
heard.

session.Session is one connection with its codec; outbox.Outbox is the queue of everybody who has something to say to
the agent, and uplink.Uplink the sound in it. speech_line.sound_over_line() is the sound of a text, for
announcements and the embedded agent. Only announce, app, demo, dialogue, doctor, embedded and supervisor import it.
"""
