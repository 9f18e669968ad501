"""From a device's periods to frames of 20 ms at 16 kHz, in step with a clock; the gain of a soft microphone."""
