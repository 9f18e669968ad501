"""The composition: builds the parts from the configuration, starts and stops them, reloads, and reports.

service.Service is what commands and the control socket hold; everything else is built and wired in here. Only the
programs above (control, chat, demo, cli) may know it.
"""
