"""Echo cancellation: takes the agent's own voice out of the microphone's sound.

The ears call control.EchoControl for every frame, the speaker leaves its sound in far_end.FarEnd, and the application
builds both. The modules stand above playback, whose interface FarEnd implements; only audio/recorder, tuning/ and the
packages from app/ upwards may import them.
"""
