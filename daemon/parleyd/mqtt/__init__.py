"""The program for an MQTT broker: makes a device of Home Assistant's of the daemon, and takes orders for it.

`parleyd mqtt` runs bridge.Bridge, a client of the daemon's control socket and of the broker; translator.Translator
decides all that is published and ordered, and probe.ask is for the doctor. Only cli and doctor import it.
"""
