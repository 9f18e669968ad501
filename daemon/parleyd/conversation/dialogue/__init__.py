"""The conversation itself: answers, turns and history, and the input of the agent.

conversation.Conversation decides, without a thread or a clock; dialogue.Dialogue is the thread-safe shell around it,
and the only one that carries its decisions out. uploads.Uploads makes files ready for the agent. Only announce, app,
doctor, supervisor and transcript import it.
"""
