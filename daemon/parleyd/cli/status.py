"""`parleyd status`: shows the state of the running daemon on one page."""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import signal
import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from parleyd.audio.gate.why_held_back import in_words
from parleyd.cli.daemon import add_options, connected
from parleyd.cli.terminal import has_colour, rows, terminal_width
from parleyd.control.client import Client, RefusedError
from parleyd.core.text import json_text, one_line, question

# How often the page is printed again: into a pipe, and on a terminal, where it has a level meter.
WATCH_S = 1.0
METER_S = 0.2
# xterm's alternate screen, and the cursor.
_OTHER_SCREEN, _FIRST_SCREEN = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
_LOWEST_DBFS = -90.0
# A shorter sound that waits for the speaker is rounded to nothing.
_LEAST_QUEUED_MS = 50
# Longer words of the conversation are cut; `parleyd transcript` and `parleyd events` have all of them.
_MOST_WORDS_CHARS = 150
_NAME_WIDTH = 12
# ECMA-48 (ANSI): SGR colours.
_YELLOW = "33"
_HEALTH_COLOURS = {"well": "32", "starting": "36", "trouble": _YELLOW, "sick": "1;31"}


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "status",
        description="Shows how the running daemon is doing, and what was said last. Exit code 0 if it is well, 1 if "
        "something is wrong with it, or if it is still starting, 69 if it does not run.",
    )
    parser.add_argument("--watch", action="store_true", help="renew the page until Ctrl-C, with a level meter")
    parser.add_argument("--all", action="store_true", help="show also the gate, delays, hooks and the process")
    add_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    if args.watch and not args.json and sys.stdout.isatty():
        return _watch(args)
    with connected(args) as client:
        while True:
            status = client.ask("status") if args.json else _asked(client)
            if args.json:
                text = json_text(status)
            else:
                lines = shown(page(status, everything=args.all), width=terminal_width(), colour=has_colour())
                text = "\n".join((*lines, *_start_trouble(status, args)))
            print(text, flush=True)
            if not args.watch:
                return _code(status)
            time.sleep(WATCH_S)


def _watch(args: argparse.Namespace) -> int:
    """Shows the page on the terminal's other screen until Ctrl-C; what was on the terminal comes back then."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with connected(args) as client:
        print(_OTHER_SCREEN, end="")
        try:
            while True:
                status = _asked(client)
                lines = (*_meter(status), *page(status, everything=args.all))
                height = shutil.get_terminal_size().lines
                text = list(shown(lines, width=terminal_width(), colour=has_colour()))[: height - 1]
                # Each line clears the rest of its row, and the end clears the rows below: clearing the whole screen
                # would flicker.
                print("\x1b[H" + "".join(f"{line}\x1b[K\n" for line in text) + "\x1b[J", end="", flush=True)
                time.sleep(METER_S)
        finally:
            print(_FIRST_SCREEN, end="", flush=True)


def _asked(client: Client) -> dict[str, Any]:
    try:
        return client.ask("status", words=True)
    except RefusedError as error:
        if error.kind != "bad_request":
            raise
        # A daemon of another version knows no words.
        return client.ask("status")


def _code(status: dict[str, Any]) -> int:
    return os.EX_OK if status["health"] == "well" else 1


def _start_trouble(status: dict[str, Any], args: argparse.Namespace) -> Iterator[str]:
    """While the daemon starts: whether it has failed before, which systemd knows."""
    if status["health"] != "starting" or args.socket is not None:
        return
    # Imported here, because only a daemon that starts has anything to tell.
    from parleyd.doctor.service import known_units, why_not_running

    told = why_not_running(known_units(), is_up=True)
    if told is not None:
        yield from shown([Row("service", told[0], _YELLOW, told[1])], width=terminal_width(), colour=has_colour())


def _meter(status: dict[str, Any]) -> Iterator[Row]:
    """The microphone's level as a bar; `|` is the noise floor of the room."""
    microphone = status["microphone"]
    if microphone is None or not microphone["present"]:
        return
    cells = terminal_width() or 80
    cells = max(10, min(50, cells - _NAME_WIDTH - 14))

    def place(dbfs: float) -> int:
        return round(min(max(0.0, 1 - dbfs / _LOWEST_DBFS), 1.0) * (cells - 1))

    bar = ["#"] * place(microphone["level_dbfs"]) + ["."] * cells
    bar[place(microphone["floor_dbfs"])] = "|"
    speaks = microphone["somebody_speaks"]
    yield Row("level", f"{''.join(bar[:cells])} {microphone['level_dbfs']:4.0f} dBFS", "32" if speaks else "")


class Row(NamedTuple):
    """name: the subject; empty: the same as the line above; None: the whole page. colour: an SGR parameter, or "".
    hint: what to do about it."""

    name: str | None
    text: str
    colour: str = ""
    hint: str = ""


def page(status: dict[str, Any], *, everything: bool = False) -> Iterator[Row]:
    """The lines of the page: first troubles, then reasons why the daemon does not answer, then its state.

    everything: also the lines for finding faults.
    """
    state = f"{status['state']} for {_length(status['state_s'])} ({status['reason']})"
    yield Row(None, f"parleyd {status['version']}: {state}", _HEALTH_COLOURS.get(status["health"], ""))
    yield from _health(status)
    usage = status["usage"]
    if status["speaker"] is not None and not status["speaker"]["volume"]:
        yield Row("volume", "0%: nothing can be heard", _YELLOW, "parleyd volume 50")
    if status["microphone"] is not None and status["microphone"]["muted"]:
        # A daemon of another version may not know.
        lasts = "until a restart" if not status["microphone"].get("mute_lasts", True) else "also after a restart"
        yield Row("muted", f"the microphone hears nothing, {lasts}", _YELLOW, "parleyd unmute")
    if usage["refused"]:
        yield Row("no session", usage["refused"], _YELLOW, "parleyd wake --anyway opens one all the same")
    for wanted in status["approvals"]:
        yield _approval(wanted, "may it call")
    # A daemon of another version may not know.
    for wanted in status.get("confirmations", ()):
        yield _approval(wanted, "may it run here")
    metrics = status["metrics"]
    for name, text in (
        ("profile", status["profile"]),
        *_words(status.get("words") or {}),
        ("up", f"{_length(status['uptime_s'])}, since {time.strftime('%F %T', time.localtime(status['started_s']))}"),
        ("agent", _agent(status)),
        ("wake", status["wake_mode"]),
        *_devices(status, everything=everything),
        ("sessions", f"{metrics['sessions']}, {_length(metrics['session_s'])} in all; {_many(metrics, 'wakes')}, "
         f"{_many(metrics, 'reconnects')}, {_many(metrics, 'failed_tries')}"),
        ("today", _usage(usage)),
        ("timers", _timers(status.get("timers", ()))),
        *_talk(status, everything=everything),
        ("tools", _programs(status.get("programs"))),
        *((("hooks", _hooks(status["hooks"])), ("process", _load(status["load"]))) if everything else ()),
    ):  # fmt: skip
        if text:
            yield Row(name, text)


def shown(lines: Iterable[Row], *, width: int | None, colour: bool) -> Iterator[str]:
    """The page, wrapped between words at the terminal's width. width: None: do not wrap."""
    for line in lines:
        lead = "" if line.name is None else f"  {line.name:<{_NAME_WIDTH}}"
        indent = " " * (len(lead) or 4)
        made = rows(one_line(line.text), width, lead=lead, indent=indent)
        if line.hint:
            made += rows(one_line(line.hint), width, lead=f"{indent}-> ", indent=f"{indent}   ")
        for row in made:
            row = row.rstrip()
            yield f"\033[{line.colour}m{row}\033[0m" if colour and line.colour else row


def _agent(status: dict[str, Any]) -> str:
    # A daemon of another version may not know the fallback.
    who = f"the fallback, instead of {status['provider']}" if status.get("fallback") else str(status["provider"])
    return f"{who}, {conversation}" if (conversation := status["conversation_id"]) else who


def _words(words: dict[str, Any]) -> Iterator[tuple[str, str]]:
    if said := words.get("heard"):
        yield ("typed" if said["typed"] else "heard"), f"{_quoted(said['text'])}, {_ago(said['ago_s'])}"
    if said := words.get("answered"):
        cut = " (interrupted)" if said["interrupted"] else ""
        yield "answered", f"{_quoted(said['text'])}{cut}, {_ago(said['ago_s'])}"


def _quoted(text: str) -> str:
    if len(text) > _MOST_WORDS_CHARS:
        text = text[:_MOST_WORDS_CHARS].rpartition(" ")[0] + "…"
    return f"“{text}”"


def _ago(seconds: float) -> str:
    # The first of the two units is exact enough, and does not change all the time.
    return "just now" if seconds < 2 else f"{' '.join(_length(seconds).split()[:2])} ago"


def _timers(timers: Iterable[dict[str, Any]]) -> str:
    """Such as `tea in 4 min 10 s, 2 in 3 h`; a timer without a label is named by its number."""
    return ", ".join(f"{one['label'] or one['number']} in {_length(one['left_s'])}" for one in timers)


def _devices(status: dict[str, Any], *, everything: bool) -> Iterator[tuple[str, str]]:
    if status["microphone"] is None:
        yield "sound", "none (audio.mode: off): the conversation is in writing"
        return
    # A daemon of another version may not know.
    missing_ms = status["metrics"].get("missing_sound_ms", 0)
    missing = f", {missing_ms / 1000:.2f} s of its sound is missing" if missing_ms else ""
    yield "microphone", _microphone(status["microphone"], everything=everything) + missing
    if status["microphone"].get("held_back_ms"):
        yield "held back", _held_back(status["microphone"])
    yield "speaker", _speaker(status["speaker"], everything=everything)
    yield "echo", status["echo_mode"].replace("_", " ")


def _talk(status: dict[str, Any], *, everything: bool) -> Iterator[tuple[str, str]]:
    metrics = status["metrics"]
    wake_to_live = f"wake to live {_delay(metrics['wake_to_live'])}"
    if status["microphone"] is None:
        if everything:
            yield "delays", wake_to_live
        return
    yield (
        "talk",
        (
            f"{_many(metrics, 'utterances')}, {_many(metrics, 'answers')}, {_many(metrics, 'interruptions')}, "
            f"{_many(metrics, 'tool_calls')}, {metrics['lost_speech_ms'] / 1000:g} s of speech lost"
        ),
    )
    if not everything:
        return
    yield "gate", f"open {metrics['speech_s'] / max(metrics['heard_s'], 0.02):.1%} of {_length(metrics['heard_s'])}"
    delays = (
        f"speech to sound {_delay(metrics['speech_to_sound'])}",
        wake_to_live,
        f"interrupted to silent {_delay(metrics['clear_residual'])}",
    )
    yield "delays", "; ".join(delays)


def _health(status: dict[str, Any]) -> Iterator[Row]:
    colour = _HEALTH_COLOURS.get(status["health"], "")
    troubles = status["troubles"]
    if not troubles:
        held_ms = sum(((status["microphone"] or {}).get("held_back_lately_ms") or {}).values())
        held = f"; {held_ms / 1000:.0f} s that sounded like speech were held back in the last hour"
        yield Row("health", status["health"] + (held if held_ms >= 500 else ""), colour)
    for number, trouble in enumerate(troubles):
        text = f"{trouble['part']}: {trouble['text']}"
        # A daemon of another version may send no hint.
        hint = trouble.get("hint") or ""
        yield Row("" if number else "health", f"{status['health']}; {text}" if not number else text, colour, hint)


def _usage(it: dict[str, Any]) -> str:
    words = [f"{it['session_minutes_today']:g} min of session ({it['session_minutes_month']:g} this month)"]
    for period, key in (("today", "minutes_left_today"), ("this month", "minutes_left_month")):
        if it[key] is not None:
            words.append(f"{it[key]:g} min left {period}")
    # A daemon of another version may not know.
    if it.get("money_month") or it.get("money_left_today") is not None or it.get("money_left_month") is not None:
        words.append(f"{it['money_today']:.2f} {it['currency']} ({it['money_month']:.2f} this month)")
        for period, key in (("today", "money_left_today"), ("this month", "money_left_month")):
            if it[key] is not None:
                words.append(f"{it[key]:.2f} {it['currency']} left {period}")
    if tokens := it.get("tokens_today"):
        words.append(", ".join(f"{count:,} {kind.replace('_', ' ')}" for kind, count in tokens.items()) + " tokens")
    words.append(f"{_bytes(it['sent_bytes_today'])} up, {_bytes(it['received_bytes_today'])} down")
    if it["stayed_share_today"] is not None:
        words.append(f"{it['stayed_share_today']:.1%} of what was heard stayed here")
    return "; ".join(words)


def _bytes(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 100_000 else f"{count / 1e3:.1f} kB"


def _microphone(it: dict[str, Any], *, everything: bool) -> str:
    words = [it["name"] if it["present"] else f"{it['name']} (gone)"]
    if it["muted"]:
        words.append("muted")
    words.append(f"{it['level_dbfs']:.0f} dBFS, room {it['floor_dbfs']:.0f} dBFS")
    if it["gain_db"] or it["learnt_db"]:
        learnt = f", {it['learnt_db']:.0f} of it learnt" if it["learnt_db"] else ""
        words.append(f"with a gain of {it['gain_db']:.0f} dB{learnt}")
    if it["somebody_speaks"]:
        words.append("somebody speaks")
    if it["doubts_for_s"]:
        words.append(f"less sensitive for {it['doubts_for_s']} s, after a false wake")
    if it["overflows"]:
        words.append(f"{it['overflows']} overflows")
    if everything:
        words += _clock(it)
    return ", ".join(words)


def _held_back(it: dict[str, Any]) -> str:
    """The line about sound like speech that was not sent."""
    lately_ms, total_ms = it["held_back_lately_ms"], it["held_back_ms"]
    since = f"{sum(total_ms.values()) / 1000:.1f} s in {sum(it['held_back_times'].values())} sounds since the start"
    if not lately_ms:
        return f"nothing in the last hour; {since}"
    lately_s = sum(lately_ms.values()) / 1000
    return f"{lately_s:.1f} s that sounded like speech in the last hour ({in_words(lately_ms)}); {since}"


def _speaker(it: dict[str, Any], *, everything: bool) -> str:
    words = [it["name"] if it["present"] else f"{it['name']} (gone)", f"volume {it['volume']:.0%}"]
    if it["queued_ms"] >= _LEAST_QUEUED_MS:
        words.append(f"{it['queued_ms'] / 1000:.1f} s waiting")
    if it.get("dropped_ms"):
        words.append(f"{it['dropped_ms'] / 1000:.0f} s of answers dropped")
    if everything:
        words.append(f"latency {it['latency_ms']} ms")
        # Most devices also count underruns between answers, which nobody hears.
        words.append(_many(it, "underruns"))
        words += _clock(it)
        if it.get("late_frames"):
            words.append(f"{it['late_frames']} frames heard before their echo was known")
    return ", ".join(words)


def _clock(it: dict[str, Any]) -> Iterator[str]:
    # A daemon of another version may not tell.
    if it.get("clock_ppm"):
        yield f"clock {it['clock_ppm']:+.0f} ppm"
    if it.get("clock_jumps"):
        yield _many(it, "clock_jumps")


def _approval(it: dict[str, Any], asks: str) -> Row:
    # A daemon of another version knows only the agent's id.
    order = f"parleyd approve {shlex.quote(it.get('approval') or it['call_id'])}"
    return Row("asks", f"{asks} {question(it)}?", _YELLOW, f"{order}, or deny")


def _hooks(it: dict[str, int]) -> str:
    return ", ".join(f"{it[name]} {name}" for name in ("runs", "failed", "dropped")) if any(it.values()) else ""


def _programs(it: dict[str, Any] | None) -> str:
    """The line about programs; empty for an older daemon."""
    if it is None:
        return ""
    weaker = "; ".join(it["weaker"])
    return f"they run {it['text']}{f'; weaker: {weaker}' if weaker else ''}"


def _load(it: dict[str, Any]) -> str:
    limit = f" of {it['memory_limit_bytes'] / 2**20:.0f}" if it["memory_limit_bytes"] else ""
    return f"{it['memory_bytes'] / 2**20:.0f}{limit} MiB, {it['threads']} threads, {it['handles']} file handles"


def _many(metrics: dict[str, Any], name: str) -> str:
    words = name.replace("_", " ")
    if metrics[name] == 1:
        words = {"failed tries": "failed try"}.get(words, words.removesuffix("s"))
    return f"{metrics[name]} {words}"


def _delay(it: dict[str, Any]) -> str:
    return f"{it['last_ms']:.0f} ms (mean {it['sum_ms'] / it['count']:.0f})" if it["count"] else "-"


def _length(seconds: float) -> str:
    """A duration in words, such as 3 d 4 h, 12 min 5 s."""
    units = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))
    parts = []
    left = int(seconds)
    for size, unit in units:
        if left >= size:
            parts.append(f"{left // size} {unit}")
            left %= size
    return " ".join(parts[:2]) or "0 s"
