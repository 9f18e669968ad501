"""Agents as code: compares what this device needs of its agent on the ElevenLabs platform, and what its owner wants of
it, with what is there, and writes the difference.

`fit()` decides, without a network; `Rest` and `Folder` are the two places where an agent may stand; `carry_out()`
writes. Only the commands and the doctor use this package: the daemon never changes an agent.
"""
