"""`parleyd conversations`: the past conversations as the ElevenLabs platform knows them, joined with this device's
transcript."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from parleyd.checks.configuration import load_without_agent
from parleyd.cli.config_option import add_config
from parleyd.cli.configured import config_of
from parleyd.cli.terminal import rows, show, terminal_width
from parleyd.cli.transcript import directory_of
from parleyd.config.base import Secret
from parleyd.config.schema import Config
from parleyd.config.secrets import resolve_key
from parleyd.core.errors import UserError
from parleyd.core.text import one_line, printable
from parleyd.platform.conversations import PARTS, LocalTurn, Summary, Turn, summary, turns
from parleyd.platform.failures import EX_CONFIGURATION, PlatformError, without_a_key
from parleyd.platform.rest import ask, pages
from parleyd.transcript.reading import entries, moment

CONVERSATIONS = "/v1/convai/conversations"
_ANSWER_S = 20.0
_SINCE_HINT = "use such as 90m, 2h, 3d, today, 2026-11-21 or 2026-11-21T18:00"


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "conversations",
        description="Without ID: lists the conversations of the agent on the ElevenLabs platform, the newest first, "
        "with their cost and ending. With ID: shows its turns, and the parts of each answer's delay: recogniser, "
        "language model, voice, and the network, if this device has a transcript of it. See docs/platform.md.",
    )
    parser.add_argument("id", nargs="?", metavar="ID", help="of one conversation (conv_...)")
    add_config(parser)
    parser.add_argument("--key-file", type=Path, metavar="FILE", help="the key is the first line of this file")
    parser.add_argument("--agent", metavar="ID", help="another agent than elevenlabs.agent_id")
    parser.add_argument("--user", metavar="NAME", help="only of this device: its elevenlabs.user_id, or its host name")
    parser.add_argument("--since", default="7d", metavar="WHEN", help="such as 2h, 3d, today; default: %(default)s")
    parser.add_argument("--json", action="store_true", help="print facts for programs")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    config = config_of(args.config, load_without_agent)
    try:
        since = moment(args.since, datetime.now().astimezone())
    except ValueError:
        raise UserError(f"--since {one_line(args.since)} is not a time", _SINCE_HINT, os.EX_USAGE) from None
    key = resolve_key(config.elevenlabs.api_key if args.key_file is None else Secret(file=str(args.key_file)))
    if key is None:
        hint = "set elevenlabs.api_key, or name a file with --key-file FILE"
        raise without_a_key(config.provider, hint)
    local = _local(config)
    if args.id is not None:
        return _one(config.elevenlabs.base_url, key, args.id, local, is_json=args.json)
    agent_id = args.agent or config.elevenlabs.agent_id
    if agent_id is None:
        raise PlatformError("no agent is named", "set elevenlabs.agent_id, or use --agent ID", EX_CONFIGURATION)
    about = {"agent_id": agent_id, "call_start_after_unix": str(int(since.timestamp()))}
    query = urlencode(about | ({"user_id": args.user} if args.user else {}))
    found = [
        summary(item, local)
        for item in pages(
            config.elevenlabs.base_url, key, f"{CONVERSATIONS}?{query}", "conversations", timeout_s=_ANSWER_S
        )
    ]
    if args.json:
        print(json.dumps([_plain(one) for one in found], indent=2, ensure_ascii=False))
    else:
        _print_list(found, args.since)
    return os.EX_OK


def _one(base_url: str, key: str, name: str, local: Mapping[str, Sequence[LocalTurn]], *, is_json: bool) -> int:
    path = f"{CONVERSATIONS}/{quote(name, safe='')}"
    what = f"the conversation {one_line(name)}"
    found = ask(base_url, key, "GET", path, None, what=what, timeout_s=_ANSWER_S)
    if not isinstance(found, dict):
        raise PlatformError("the server describes no conversation", "check elevenlabs.base_url")
    joined = turns(found, local.get(name, ()))
    if is_json:
        print(json.dumps({**found, "turns": [_turn_facts(turn) for turn in joined]}, indent=2, ensure_ascii=False))
    else:
        _print_one(found, joined, is_here=name in local)
    return os.EX_OK


def _local(config: Config) -> dict[str, list[LocalTurn]]:
    """The transcript of this device, by the ids of the conversations; empty where there is none."""
    found: dict[str, list[LocalTurn]] = {}
    with contextlib.suppress(OSError):
        for _, entry in entries(directory_of(config.transcript), None):
            answered_s = None if entry.answered_ms is None else entry.answered_ms / 1000
            turn = LocalTurn(entry.time, entry.speaker, entry.text, answered_s)
            found.setdefault(entry.conversation, []).append(turn)
    return found


# ---------------------------------------------------------------- lines


def _print_list(found: Sequence[Summary], since: str) -> None:
    if not found:
        show(f"The platform has no conversation of this agent that began within --since {one_line(since)}.")
        return
    for one in found:
        _print_row(
            f"{one.began.astimezone():%Y-%m-%d %H:%M}  {one.conversation_id}  {_span(one.duration_s)}  "
            f"{one.messages} {'message' if one.messages == 1 else 'messages'}  {_cost(one.cost, one.cost_usd)}"
            + (f"  {one.ended}" if one.ended else "")
            + ("" if one.is_here else "  (not in this device's transcript)")
        )
    total = sum(one.cost or 0 for one in found)
    seconds = sum(one.duration_s for one in found)
    dollars = sum(one.cost_usd or 0.0 for one in found)
    counted = "1 conversation" if len(found) == 1 else f"{len(found)} conversations"
    show(f"\n{counted}, {_span(seconds)}, {_cost(total, dollars)} in all.")


def _print_one(found: Mapping[str, Any], joined: Sequence[Turn], *, is_here: bool) -> None:
    told = summary({**found, **_metadata(found)}, ())
    _print_row(f"{told.conversation_id}  {told.began.astimezone():%Y-%m-%d %H:%M:%S}  {_span(told.duration_s)}")
    _print_row(f"cost: {_cost(told.cost, told.cost_usd)}")
    if told.ended:
        _print_row(f"ended: {told.ended}")
    error = _metadata(found).get("error")
    if isinstance(error, Mapping):
        _print_row(f"error: {error.get('code')} {error.get('reason') or ''}")
    analysis = found.get("analysis")
    if isinstance(analysis, Mapping):
        _print_row(f"judged: {analysis.get('call_successful')}; {analysis.get('transcript_summary') or ''}")
        for name, result in _mapping(analysis, "evaluation_criteria_results").items():
            verdict = result if isinstance(result, Mapping) else {"result": result}
            _print_row(f"criterion: {name}: {verdict.get('result')}; {verdict.get('rationale') or ''}")
        for name, result in _mapping(analysis, "data_collection_results").items():
            value = result.get("value") if isinstance(result, Mapping) else result
            _print_row(f"collected: {name}: {value}")
    print()
    for turn in joined:
        mark = " (interrupted)" if turn.is_interrupted else ""
        _print_row(f"{turn.text or '(nothing said)'}{mark}", lead=f"{turn.at_s:6.0f} s  {turn.speaker:<5}  ")
        for tool in turn.tools:
            _print_row(f"tool {tool}", lead=" " * 17)
        if delay := _delay(turn):
            _print_row(delay, lead=" " * 17)
    if not is_here:
        show("\nThis device has no transcript of it (transcript.enabled), so the network's share is unknown.")


def _delay(turn: Turn) -> str:
    """A sentence such as `heard after 1.9 s: recogniser 0.2, language model 0.6, voice 0.2, network 0.8 (the most)`."""
    parts = [f"{words} {turn.parts[name]:.1f}" for name, words in PARTS.items() if name in turn.parts]
    if turn.way_s is not None:
        parts.append(f"network {turn.way_s:.1f}")
    if not parts:
        return ""
    begin = f"heard after {turn.heard_after_s:.1f} s: " if turn.heard_after_s is not None else "delay in seconds: "
    end = f"; most of it: {turn.slowest}" if turn.slowest else ""
    return f"{begin}{', '.join(parts)}{end}"


def _print_row(text: str, lead: str = "") -> None:
    for row in rows(printable(text), terminal_width(), lead=lead, indent=" " * (len(lead) or 4)):
        print(row)


def _span(seconds: float) -> str:
    whole = round(seconds)
    return f"{whole // 60} min {whole % 60} s" if whole >= 60 else f"{whole} s"


def _cost(credits_: int | None, dollars: float | None) -> str:
    told = [f"{credits_} credits"] if credits_ is not None else []
    told += [f"{dollars:.2f} USD"] if dollars else []
    return ", ".join(told) or "cost unknown"


def _metadata(found: Mapping[str, Any]) -> Mapping[str, Any]:
    return _mapping(found, "metadata")


def _mapping(found: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """The object at this key; empty if the server sent something else."""
    value = found.get(key)
    return value if isinstance(value, Mapping) else {}


def _plain(one: Summary) -> dict[str, Any]:
    return {**asdict(one), "began": one.began.isoformat()}


def _turn_facts(turn: Turn) -> dict[str, Any]:
    return {**asdict(turn), "way_s": turn.way_s, "slowest": turn.slowest}
