"""The program for a push button: reads a key or a GPIO line, and gives orders to the daemon over its control socket."""
