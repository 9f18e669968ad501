"""Sessions with an agent, in common terms: session (the line), dialogue (the conversation), supervisor (its life).

No provider and no sound device is known here. app builds dialogue.dialogue.Dialogue and
supervisor.supervisor.Supervisor; the ears, the speaker, the tools and the commands talk to the dialogue. Only announce,
app, demo, doctor, embedded and transcript import it.
"""
