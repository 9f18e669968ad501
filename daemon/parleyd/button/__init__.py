"""A push button as a program of its own: reads a key or a GPIO line, and asks the daemon by its control socket."""
