"""`parleyd agent`: runs the embedded agent as a separate server."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

from parleyd.cli import agent_serving
from parleyd.cli.terminal import show
from parleyd.config.base import Secret
from parleyd.config.problem import ConfigError
from parleyd.core.errors import UserError
from parleyd.core.text import json_text, one_line
from parleyd.embedded import agent_file
from parleyd.embedded.errors import EXTRA_HINT
from parleyd.embedded.record import Activity
from parleyd.embedded.scenario import Scenario, load
from parleyd.embedded.settings import AgentSettings, FormatName, MindSettings, PartAddress
from parleyd.host.packages import missing_module
from parleyd.host.signals import NUDGE, Signals

if TYPE_CHECKING:
    from parleyd.embedded.server import LocalAgent

DEFAULT_PORT = 8765
FORMATS = FormatName.__args__  # type: ignore[attr-defined]


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "agent",
        description="Serves the ElevenLabs Agents protocol and the OpenAI Realtime protocol on this machine, with real "
        "ears and a real voice: for a daemon without a key, and for tests. Runs until SIGTERM or Ctrl-C.",
    )
    agent_serving.add_options(parser)
    parser.add_argument(
        "--origin", action="append", default=[], metavar="URL", help="web pages of this origin may connect, too"
    )
    parser.add_argument(
        "--port", type=_port, default=DEFAULT_PORT, help="the port, 0: any free one; default: %(default)s"
    )
    parser.add_argument(
        "--scenario", type=Path, metavar="FILE", help="a file with the settings of the agent, and its faults"
    )
    parser.add_argument("--ears", choices=("sphinx", "whisper", "none"), help="the speech recogniser, default: sphinx")
    parser.add_argument("--voice", metavar="NAME", help="a voice of flite (slt, rms, awb, kal) or of espeak-ng (en-gb)")
    parser.add_argument(
        "--agent-file",
        action="append",
        type=Path,
        default=[],
        metavar="FILE",
        help="an agent as the platform exports it, JSON or YAML; may be given several times",
    )
    parser.add_argument(
        "--mind",
        type=_web_address,
        metavar="URL",
        help="a language model: a server of OpenAI's chat completions, such as Ollama's",
    )
    parser.add_argument("--model", metavar="NAME", help="the model's name there")
    parser.add_argument("--mind-key-file", type=Path, metavar="FILE", help="the file whose first line is its key")
    parser.add_argument(
        "--ears-at",
        type=_part_address,
        metavar="URL",
        help="a recogniser: OpenAI's API (http://…/v1) or Wyoming (tcp://HOST:PORT)",
    )
    parser.add_argument("--voice-at", type=_part_address, metavar="URL", help="a voice, likewise")
    parser.add_argument("--input-format", choices=FORMATS, metavar="FORMAT", help=f"{', '.join(FORMATS)}")
    parser.add_argument(
        "--output-format", choices=FORMATS, metavar="FORMAT", help="the same choices; default: pcm_16000"
    )
    parser.add_argument("--record", type=Path, metavar="DIR", help="write each connection's sound and messages there")
    parser.add_argument("--json", action="store_true", help="one JSON object per line")
    parser.add_argument("--quit-with-stdin", action="store_true", help="end with standard input; ignore SIGTERM")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    try:
        from parleyd.embedded.server import LocalAgent
    except ModuleNotFoundError as error:
        text = f"the embedded agent needs the package {missing_module(error)}"
        raise UserError(text, EXTRA_HINT, os.EX_UNAVAILABLE) from error
    scenario = _scenario(args.scenario)
    changes = {
        name: value
        for name in ("ears", "voice", "input_format", "output_format")
        if (value := getattr(args, name)) is not None
    }
    if args.key_file is not None:
        changes |= {"api_key": agent_serving.first_line(args.key_file), "require_auth": True}
    settings: AgentSettings = msgspec.structs.replace(scenario.agent, **changes, **_elsewhere(args, scenario.agent))
    has_key = settings.require_auth and settings.api_key is not None
    agent_serving.check_reach(args, has_key=has_key)
    with Signals() as arrived:
        _serve(args, scenario, settings, LocalAgent, arrived)
    return os.EX_OK


def _serve(
    args: argparse.Namespace, scenario: Scenario, settings: AgentSettings, kind: type[LocalAgent], arrived: Signals
) -> None:
    printer = _Printer(is_json=args.json, done=arrived.nudge)
    agent = kind(
        settings,
        scenario,
        host=args.host,
        port=args.port,
        origins=args.origin,
        agents=_agents(args.agent_file),
        keep=False,
        folder=args.record,
        on_activity=printer.show,
        replica=agent_serving.replica(args),
    )
    try:
        if args.record is not None:
            args.record.mkdir(parents=True, exist_ok=True)
        agent.start()
    except OSError as error:
        text = f"cannot record to {args.record}: {error.strerror}"
        raise UserError(text, "choose another folder with --record", os.EX_CANTCREAT) from error
    try:
        printer.listening(agent.url, agent.base_url, settings.agent_id)
        if args.quit_with_stdin:
            # systemd tells all processes of a service to end at once; the daemon hangs up first.
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            threading.Thread(target=_wait_for_eof, args=(arrived.nudge,), name="stdin", daemon=True).start()
        number = NUDGE if arrived.stop_wanted else arrived.wait()
        while number != NUDGE and not arrived.stop_wanted:
            number = arrived.wait()
        if number == signal.SIGTERM and args.drain:
            agent.drain(args.drain, arrived.nudge)
            # Its end, or another signal, which ends the server at once.
            arrived.wait()
    finally:
        agent.stop()


def _elsewhere(args: argparse.Namespace, agent: AgentSettings) -> dict[str, Any]:
    """The settings of a mind, ears and a voice by address."""
    changes: dict[str, Any] = {}
    if args.mind is not None or agent.mind is not None:
        changes["mind"] = msgspec.structs.replace(
            agent.mind or MindSettings(base_url=args.mind),
            **({"base_url": args.mind} if args.mind is not None else {}),
            **({"model": args.model} if args.model is not None else {}),
            **({"api_key": Secret(file=str(args.mind_key_file))} if args.mind_key_file is not None else {}),
        )
    elif args.model is not None or args.mind_key_file is not None:
        raise UserError("a model and a key belong to a mind", "say where it is, with --mind URL", os.EX_USAGE)
    for name in ("ears_at", "voice_at"):
        place = getattr(args, name)
        if place is not None:
            changes[name] = PartAddress(**{"wyoming" if place.startswith("tcp:") else "base_url": place})
    return changes


def _agents(files: Sequence[Path]) -> list[dict[str, Any]]:
    agents = []
    for path in files:
        agent, unknown = agent_file.load(path)
        if unknown:
            more = f" and {len(unknown) - 8} more" if len(unknown) > 8 else ""
            print(f"parleyd: {path}: no effect here: {', '.join(unknown[:8])}{more}", file=sys.stderr)
        agents.append(agent)
    return agents


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > 65_535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port; use 0 to 65535")
    return int(text)


def _web_address(text: str) -> str:
    if not _is_address(text, "http", "https"):
        raise argparse.ArgumentTypeError(f"{text!r} is no address; use http://HOST:PORT/v1")
    return text


def _part_address(text: str) -> str:
    if not _is_address(text, "http", "https", "tcp"):
        raise argparse.ArgumentTypeError(f"{text!r} is no address; use http://HOST:PORT/v1 or tcp://HOST:PORT")
    return text


def _is_address(text: str, *schemes: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in schemes and bool(parts.hostname) and (parts.scheme != "tcp" or parts.port is not None)
    except ValueError:
        return False


def _scenario(path: Path | None) -> Scenario:
    if path is None:
        return Scenario()
    try:
        return load(path)
    except ConfigError as error:
        raise UserError(str(error), None, os.EX_DATAERR) from error
    except OSError as error:
        text = f"cannot read the scenario {path}: {error.strerror}"
        raise UserError(text, "name another with --scenario FILE", os.EX_NOINPUT) from error


def _wait_for_eof(done: Callable[[], None]) -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    done()


class _Printer:
    """Prints one line per event; called from the server's thread. If the reader of the pipe has ended, the program
    ends."""

    def __init__(self, *, is_json: bool, done: Callable[[], None]) -> None:
        self._is_json = is_json
        self._done = done
        self._began_s = time.monotonic()

    def listening(self, url: str, base_url: str, agent_id: str | None) -> None:
        if self._is_json:
            told = {"url": url, "base_url": base_url, "openai_base_url": f"{base_url}/v1", "agent_id": agent_id}
            self._print(json.dumps({"event": "listening", **told}))
            return
        section = f'elevenlabs: {{agent_id: {agent_id or "any"}, base_url: "{base_url}"}}'
        # All at once: a client that waits for the first line may come at once, and its lines come after these.
        self._print(
            f"listening on {url} (agent id: {agent_id or 'any'})\n"
            f"for the daemon, in its configuration: {section}\n"
            f"for clients of the OpenAI Realtime protocol, as base URL: {base_url}/v1"
        )

    def show(self, activity: Activity) -> None:
        if self._is_json:
            at_ms = round((activity.at_s - self._began_s) * 1000)
            event = {"event": activity.kind, "connection": activity.connection, "at_ms": at_ms, **activity.fields}
            self._print(json_text(event))
        elif text := _told(activity.kind, dict(activity.fields)):
            self._print(one_line(f"#{activity.connection} {text}"))

    def _print(self, text: str) -> None:
        try:
            if self._is_json:
                print(text, flush=True)
            else:
                show(text)
        except (BrokenPipeError, ValueError):
            self._done()


def _told(kind: str, fields: dict[str, Any]) -> str:
    match kind:
        case "connected":
            return f"connected: {fields['client']}" if fields["client"] else "connected"
        case "ready":
            names = ", ".join(fields["overrides"])
            return f"conversation begins, overrides: {names}" if names else "conversation begins"
        case "heard":
            return f"heard: {_line(fields['text'])}"
        case "says":
            return f"says:  {_line(fields['text'])}"
        case "speaks":
            return f"text to speech, {_line(fields['voice_id'])}: {_line(fields['text'])}"
        case "delay":
            parts = ", ".join(f"{part} {fields[f'{part}_ms']}" for part in ("silence", "ears", "mind", "voice"))
            return f"first sound {fields['first_sound_ms']} ms after the last word: {parts}"
        case "ignored":
            return f"goes on speaking after: {_line(fields['text'])}"
        case "interrupted":
            return f"interrupted, heard so far: {_line(fields['heard']) or 'nothing'}"
        case "cancelled":
            return f"answer cancelled: {fields['reason']}"
        case "truncated":
            heard = _line(fields["heard"]) or "nothing"
            return f"told that {fields['audio_end_ms']} of {fields['sent_ms']} ms were heard: {heard}"
        case "response" if fields["status"] in ("completed", "cancelled"):
            return ""
        case "response":
            return f"answer {fields['status']}"
        case "tool_call":
            return f"calls the tool {fields['name']} {json.dumps(fields['parameters'], ensure_ascii=False)}"
        case "tool_result":
            return f"tool {'failed' if fields['is_error'] else 'answered'}: {_line(fields['text'])}"
        case "message":
            return f"got {fields['type']}" + (f": {_line(fields['text'])}" if fields.get("text") else "")
        case "file":
            return f"got the file {_line(fields['name'])}: {_line(fields['media_type'])}, {fields['size_bytes']} bytes"
        case "deviation":
            return f"the client deviates from the protocol: {_line(fields['text'])}"
        case "fault":
            return f"scenario: {fields['do']} (on {fields['on']})"
        case _:
            reason = f" {_line(fields['reason'])}" if fields["reason"] else ""
            who = {"agent": "closed by the agent:", "client": "closed by the client:"}.get(fields["by"], "line lost:")
            return f"{who} {fields['code']}{reason}, {fields['audio_ms'] / 1000:.1f} s of sound received"


def _line(text: str, limit: int = 160) -> str:
    """The text, printable and not longer than a line."""
    shown = "".join(sign if sign.isprintable() else " " for sign in text)
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"
