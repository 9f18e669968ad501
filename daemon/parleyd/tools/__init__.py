"""What the agent may do on this device: its tools, the rules for them, and the log of what was done."""

# The group of the entry points that are tools in Python.
ENTRY_POINT_GROUP = "parleyd.tools"
