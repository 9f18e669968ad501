"""Agents as code: compares what this device needs of its agent on the ElevenLabs platform, and what its owner wants of
it, with what is there, and writes the difference.

fit.fit() decides, without a network; rest.Rest and folder.Folder are the two places where an agent may be kept, and
carry_out.carry_out() writes. The daemon never changes an agent. Only cli, doctor and setup import it.
"""
