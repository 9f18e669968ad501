"""The library that checks parameters: loaded in time, and without what it would load for nothing.

In interpreters of their own, since those of other tests have loaded it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

MADE = """
import sys, threading
from parleyd.config.tool_sections import Tools
from parleyd.core import events
from parleyd.tools.device_tools import DaemonActions, DeviceTools

host = DaemonActions(print, lambda _on: None, lambda: None, str, print)
bus = events.Bus()
tools = DeviceTools(Tools(built_in=BUILT_IN), host, bus, None)
preparing = lambda: [one for one in threading.enumerate() if one.name == "tools-preparing"]
is_loaded = lambda: "jsonschema" in sys.modules
assert not is_loaded()
session = events.SessionOpened(at_s=0.0, conversation_id="c", handshake_ms=1, resent_ms=0, tries=1)
"""
FORMATS = ("rfc3987_syntax", "webcolors", "isoduration")


def printed(code: str, path: Path | None = None) -> str:
    environment = os.environ | ({} if path is None else {"PYTHONPATH": str(path)})
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def made(built_in: str) -> str:
    return MADE.replace("BUILT_IN", built_in)


def test_with_the_first_session_it_is_loaded_before_a_call_needs_it() -> None:
    code = """
bus.publish(session)
for thread in preparing():
    thread.join(100)
print(len(preparing()), is_loaded())
from parleyd.tools import parameters
print(parameters._validator_class.cache_info().currsize)
bus.publish(session)
print(len(preparing()))
"""
    assert printed(made('["set_volume"]') + code).split() == ["0", "True", "1", "0"]


def test_the_end_waits_for_what_is_being_loaded() -> None:
    """An interpreter that ends in the middle of an import may crash."""
    code = """
from parleyd.tools import device_tools
may_end = threading.Event()
device_tools.load_checker = may_end.wait
bus.publish(session)
(thread,) = preparing()
threading.Timer(0.2, may_end.set).start()
tools.close()
print(thread.is_alive())
"""
    assert printed(made('["set_volume"]') + code) == "False"


def test_without_tools_it_is_never_loaded() -> None:
    assert printed(made("[]") + "bus.publish(session)\nprint(preparing(), is_loaded())") == "[] False"


def test_what_checks_formats_is_left_out_and_can_be_had_by_others(tmp_path: Path) -> None:
    """Such a module is there in some installations; one of them takes seconds to load."""
    for name in FORMATS:
        (tmp_path / f"{name}.py").write_text(f"print('{name}')\n")
    code = """
from parleyd.tools.parameters import Parameters
Parameters({"properties": {"x": {"type": "string", "format": "uri"}}}).check({"x": "no uri"})
print("checked")
import rfc3987_syntax
"""
    assert printed(code, tmp_path).split() == ["checked", "rfc3987_syntax"]
