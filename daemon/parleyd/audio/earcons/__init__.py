"""Short sounds that tell what the daemon does: the sounds themselves, and what calls for which."""
