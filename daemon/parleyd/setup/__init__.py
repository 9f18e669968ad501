"""`parleyd setup`: a guided set-up in steps, from the sound card to the first answer.

flow.run() takes the steps in their order; each asks through dialog.Dialog, which knows a person at a terminal and a
file of answers, and writes with file.ConfigFile when it is complete. sound_devices, fitting, fit_table and voices
decide without a device or a network. Only cli imports it.
"""
