"""What the agent may do on this device: its tools, the rules for them, and the log of what was done."""
