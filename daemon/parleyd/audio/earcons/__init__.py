"""Earcons, the short sounds that tell what the daemon does.

sounds.all_chosen() makes the sounds from the configuration, and cues.EarconCues decides which event calls for which
sound. Only app, checks and playback import it.
"""
