"""The agent's own voice taken out of the microphone: the far end, the cancellers, and how far they can be trusted."""
