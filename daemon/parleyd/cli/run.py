"""`parleyd run`: the daemon. Here stands only what comes before its imports, which take half of the start."""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import gc
import os
import sys

from parleyd.cli.config_option import add_config
from parleyd.host import allocator, openblas, thread_starts


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser("run", description="Runs the daemon until SIGTERM or Ctrl-C.")
    add_config(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Returns the exit code. Raises UserError."""
    # The objects of the start stay, so there is no garbage to look for, until serve() has started everything.
    gc.disable()
    try:
        return _run(args)
    finally:
        gc.enable()


def _run(args: argparse.Namespace) -> int:
    allocator.keep_small()
    openblas.start_no_threads()
    thread_starts.bound_starts()
    # Imported here, because PortAudio lists the devices while the rest is imported.
    from parleyd.audio.devices.ahead import listed_ahead
    from parleyd.audio.devices.native_output import keep_stderr_apart
    from parleyd.audio.devices.portaudio_host import host
    from parleyd.config.first_look import asks_for_cards

    keep_stderr_apart()
    # Prints the stack of each thread at a crash inside PortAudio, and at the watchdog's SIGABRT.
    faulthandler.enable(sys.stderr)
    with listed_ahead() if asks_for_cards(args.config) else contextlib.nullcontext():
        from parleyd.cli.running import daemon

        code = daemon(args)
    if host.oldest_call() is not None:
        # A normal exit would wait for threads that hang inside PortAudio.
        os._exit(code)
    return code
