"""The program for a push button: reads a key or a GPIO line, and gives orders to the daemon over its control socket.

`parleyd button` opens a contact (input_key or gpio_line) and gives it to watch.py, which tells short presses from long
ones. Only cli imports it.
"""
