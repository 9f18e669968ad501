"""Voice agents behind one interface, a package for each provider; providers are independent of one another.

provider.Agent and provider.Codec are the interface, events and commands its two languages; app makes the agents, all
others see the interface alone. speech.Speech is the interface of the voices of announcements. Only announce, app, chat,
control, conversation, doctor, embedded, platform, tools and transcript import it.
"""
