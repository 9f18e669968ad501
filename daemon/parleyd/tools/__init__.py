"""The tools of this device: their kinds, the rules for a call, the confirmations, and the audit log.

app builds device_tools.DeviceTools and gives it to the conversation, which calls it for the agent; commands list tools
and answer questions through it. Tools see no conversation and no sound device, only the functions in
device_tools.DaemonActions. Only app, checks, cli, control, conversation, doctor and platform import it.
"""

# The group of entry points under which installed packages offer tools in Python.
ENTRY_POINT_GROUP = "parleyd.tools"
