"""A fleet on this machine: `scripts/test-fleet`."""
