"""Short sounds that tell what the daemon does: the sounds themselves, and the events that call for them."""
