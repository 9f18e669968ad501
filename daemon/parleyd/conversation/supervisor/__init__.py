"""The life of sessions: when one is opened, tried again, exchanged and closed.

supervisor.Supervisor is the thread; lifecycle.Lifecycle decides, by the table of states in table. Everything that
happens elsewhere reaches it as a message. Only app imports it.
"""
