"""Echo cancellation: takes the agent's own voice out of the microphone's sound.

The ears call control.EchoControl for every frame, and the speaker hands its sound to far_end.FarEnd; the other modules
are the canceller behind the two. Only app imports it.
"""
