"""Makes frames of 20 ms at 16 kHz from a device's periods, aligned with the clock; the gain of a soft microphone."""
