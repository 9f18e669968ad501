"""The composition: builds the parts from the configuration, starts and stops them, reloads, and reports.

service.Service is the whole daemon, and commands and the control socket call nothing else of its parts; logs, reloader
and prometheus serve `parleyd run`. agents is the registry of providers, which commands and the doctor ask. Only chat,
cli, control, doctor and setup import it.
"""
