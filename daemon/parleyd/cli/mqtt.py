"""`parleyd mqtt`: connects the running daemon with an MQTT broker, and so with Home Assistant."""

from __future__ import annotations

import argparse
import json
import os
import signal

from parleyd.cli.config_option import add_config
from parleyd.cli.configured import config_of, log_to_stderr, socket_of
from parleyd.cli.daemon import add_socket
from parleyd.config.schema import Config
from parleyd.core.errors import UserError
from parleyd.host import python_env


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "mqtt",
        description="Connects the running daemon with the MQTT broker of the configuration's section `mqtt`, until "
        "SIGTERM or Ctrl-C. Home Assistant finds the device there. It waits for a broker or a daemon that is away.",
    )
    add_config(parser)
    add_socket(parser)
    parser.add_argument("--topics", action="store_true", help="print the topics of this device, and end")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    config = config_of(args.config)
    if args.topics:
        return _print_topics(config)
    if config.mqtt.host is None:
        raise UserError(f"{args.config} names no broker", "set mqtt.host; see docs/mqtt.md", os.EX_CONFIG)
    try:
        from parleyd.mqtt.bridge import Bridge
    except ImportError as error:
        text = "parleyd mqtt needs the package paho-mqtt"
        raise UserError(text, python_env.install("paho-mqtt"), os.EX_CONFIG) from error
    from parleyd.mqtt.identity import device_of

    log_to_stderr(args)
    bridge = Bridge(config.mqtt, device_of(config), socket_of(args, config))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: bridge.stop())
    bridge.run()
    return os.EX_OK


def _print_topics(config: Config) -> int:
    from parleyd.mqtt.identity import device_of
    from parleyd.mqtt.names import Topics

    device = device_of(config)
    named = Topics(config.mqtt, device).named
    print(json.dumps({"device": device.id, "name": device.name, "topics": named}, indent=2, ensure_ascii=False))
    return os.EX_OK
