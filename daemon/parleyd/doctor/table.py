"""All checks, in the order in which they are made and shown."""

from __future__ import annotations

from parleyd.doctor import (
    agent,
    agent_fit,
    camera,
    clock,
    configuration,
    daemon,
    installation,
    machine,
    mqtt,
    network,
    programs,
    service,
    sound,
    sound_access,
    systemd,
    updates,
)
from parleyd.doctor.configuration import or_defaults
from parleyd.doctor.run import Check

CHECKS = (
    Check("version", updates.version, deadline_s=10.0),
    Check("Python", installation.python),
    Check("packages", installation.packages, deadline_s=90.0),
    Check("configuration", configuration.configuration, deadline_s=20.0),
    Check("extra packages", installation.extras, needs=("configuration",), deadline_s=60.0),
    Check("service", service.service, deadline_s=10.0),
    Check("service's rights", service.rights),
    Check("tools and hooks", or_defaults(programs.programs)),
    Check("systemd", systemd.systemd, deadline_s=10.0),
    Check("running daemon", daemon.daemon, deadline_s=25.0),
    Check("sound server", or_defaults(sound_access.sound_server), deadline_s=10.0),
    Check("device holders", or_defaults(sound_access.holders), deadline_s=10.0),
    Check("sound devices", or_defaults(sound.devices), deadline_s=30.0),
    # After the devices, because device files are not needed if a sound server provides the devices.
    Check("device files", or_defaults(sound_access.permissions), explains="sound devices"),
    Check("microphone level", or_defaults(sound.level), needs=("sound devices",), deadline_s=30.0),
    Check("camera", or_defaults(camera.picture), deadline_s=45.0),
    Check("clock", clock.clock, deadline_s=10.0),
    Check("proxy", network.proxy, needs=("configuration",), deadline_s=10.0),
    Check("server's name", network.name, needs=("proxy",), deadline_s=12.0),
    Check("TCP", network.tcp, needs=("server's name",), deadline_s=20.0),
    Check("TLS", network.tls, needs=("TCP",), deadline_s=20.0),
    Check("key", agent.key, needs=("TLS",), deadline_s=15.0),
    Check("agent's settings", agent.settings, needs=("key",), deadline_s=15.0),
    Check("agent's fit", agent_fit.fit, needs=("key",), deadline_s=30.0),
    Check("conversation", agent.conversation, needs=("key",), deadline_s=75.0),
    Check("MQTT broker", mqtt.broker, needs=("configuration",), deadline_s=40.0),
    Check("disk", machine.disk),
    Check("file systems", machine.file_systems),
    Check("memory", machine.memory),
    Check("power", machine.power),
)
