"""The tools of this device: their kinds, the rules for a call, the confirmations, and the audit log.

The application builds device_tools.DeviceTools and gives it to the conversation, which calls it for the agent; the
commands and the control socket list tools and answer questions through it. The packages above may import any module
here; the tools themselves see no conversation and no sound device, only the functions in device_tools.DaemonActions.
"""

# The group of entry points under which installed packages offer tools in Python.
ENTRY_POINT_GROUP = "parleyd.tools"
