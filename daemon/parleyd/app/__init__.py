"""The composition: builds the parts from the configuration, starts and stops them, reloads, and reports.

Commands and the control socket use service.Service; all other parts are built and connected here. Only the packages
above (control, chat, demo, cli) may import it.
"""
