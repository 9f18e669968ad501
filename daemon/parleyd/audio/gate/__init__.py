"""Whether somebody speaks: voice activity, the noise floor, syllables, noises that are known; and the wake word."""
