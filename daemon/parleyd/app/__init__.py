"""The composition: builds the parts from the configuration, starts and stops them, reloads, and reports.

service.Service is the whole daemon, and commands and the control socket call nothing else of its parts; agents, logs,
reloader and prometheus serve `parleyd run`. Only chat, cli and control import it.
"""
