"""`parleyd settings`, `set` and `unset`: settings of the running daemon, laid over the configuration file."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator
from typing import Any

from parleyd.cli.daemon import add_options, connected, tell
from parleyd.core.errors import UserError

_KEEP, _UNDO, _LIST = "keep", "undo", "list"


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the three commands of this file."""
    listing = subparsers.add_parser(
        "settings",
        description="Lists the settings of the running daemon. They lie over the configuration file, which is never "
        "rewritten. For two minutes after a change the daemon watches its health: if that becomes worse, the settings "
        "go back by themselves.",
    )
    listing.add_argument(
        "what",
        nargs="?",
        choices=(_LIST, _KEEP, _UNDO),
        default=_LIST,
        help="keep: confirm what was set with --try; undo: bring back the settings from before the last change",
    )
    listing.add_argument("revision", nargs="?", type=_revision, metavar="REVISION", help="undo: to this revision")
    listing.add_argument("--all", action="store_true", help="list every key that can be set, with its value")
    add_options(listing)
    listing.set_defaults(run=_settings)
    setting = subparsers.add_parser(
        "set",
        description="Sets a key of the running daemon, and says when that takes effect. The configuration file stays "
        "as it is.",
    )
    setting.add_argument("key", metavar="KEY", help="for example gate.hangover_ms; `parleyd settings --all` lists them")
    setting.add_argument("value", metavar="VALUE", help="a text, a number, true, false, or JSON")
    _add_try(setting)
    setting.set_defaults(run=_set)
    removing = subparsers.add_parser(
        "unset", description="Takes settings away: the value of the configuration file is in force again."
    )
    removing.add_argument("key", nargs="+", metavar="KEY", help="for example gate.hangover_ms")
    _add_try(removing)
    removing.set_defaults(run=_unset)


def _add_try(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--try",
        dest="on_trial",
        action="store_true",
        help="go back after two minutes, unless `parleyd settings keep` confirms it",
    )
    add_options(parser)


def _set(args: argparse.Namespace) -> int:
    return _put(args, {args.key: _value(args.value)})


def _unset(args: argparse.Namespace) -> int:
    return _put(args, dict.fromkeys(args.key))


def _put(args: argparse.Namespace, changes: dict[str, Any]) -> int:
    with connected(args) as client:
        result = client.ask("put_config", changes=changes, confirm=args.on_trial)
        tell(args, result, in_words(result))
    return os.EX_OK


def _settings(args: argparse.Namespace) -> int:
    if args.revision is not None and args.what != _UNDO:
        raise UserError("only `undo` takes a revision", "parleyd settings undo REVISION", os.EX_USAGE)
    with connected(args) as client:
        told: dict[str, Any] = client.ask("config")
        if args.what == _KEEP:
            result: dict[str, Any] = client.ask("keep_config", revision=told["revision"])
            tell(args, result, f"kept: the settings of revision {told['revision']}")
        elif args.what == _UNDO:
            to = {} if args.revision is None else {"to": args.revision}
            result = client.ask("undo_config", revision=told["revision"], **to)
            tell(args, result, in_words(result))
        else:
            tell(args, told, "\n".join(_lines(told, everything=args.all)))
    return os.EX_OK


def in_words(outcome: dict[str, Any]) -> str:
    """The outcome of a change, in a line or two."""
    parts = [
        f"{how}: {', '.join(outcome[when])}"
        for when, how in (
            ("now", "in force now"),
            ("next_session", "from the next session on"),
            ("restart", "only after a restart"),
        )
        if outcome[when]
    ]
    words = "; ".join(parts) or "nothing has changed"
    if outcome["confirm"]:
        words += f"\nit goes back in {outcome['probation_s']} s; to keep it: parleyd settings keep"
    return words


def _lines(told: dict[str, Any], *, everything: bool) -> Iterator[str]:
    values: dict[str, dict[str, Any]] = told["values"]
    shown = {key: one for key, one in values.items() if one["origin"] == "settings" or (everything and one["settable"])}
    if not any(one["origin"] == "settings" for one in values.values()):
        yield "no settings: the configuration file alone is in force"
    for key, one in shown.items():
        origin = "" if not everything or one["origin"] == "default" else f"  # {one['origin']}"
        yield f"{key}: {_text(one['value'])}{origin}"
    if (probation := told["probation"]) is not None:
        yield _probation(probation)
    if (went_back := told.get("went_back")) is not None:
        yield f"the settings of revision {went_back['revision']} went back: {went_back['reason']}"
    if told["versions"]:
        older = ", ".join(str(one) for one in told["versions"])
        yield f"revision {told['revision']}; `parleyd settings undo REVISION` brings one of these back: {older}"


def _probation(probation: dict[str, Any]) -> str:
    if probation["after_restart"]:
        return "on probation: some keys take effect with a restart, and the health is judged after it"
    # A daemon of an earlier version does not tell of sessions.
    if probation.get("after_session"):
        hours = max(1, round(probation["left_s"] / 3600))
        return (
            "on probation: some keys are used by the next session only, and the health is judged with it; "
            f"without one they are kept in {hours} h"
        )
    if not probation["confirmed"]:
        return f"on probation: the settings go back in {probation['left_s']} s; to keep them: parleyd settings keep"
    words = f"on probation for {probation['left_s']} s: if the health becomes worse, the settings go back"
    return f"{words}; after that with the next session, which some keys wait for" if probation.get("untried") else words


def _value(text: str) -> Any:
    """JSON, or else the text itself."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    if value is None:
        raise UserError("null is no value", "to take a setting away: parleyd unset KEY", os.EX_USAGE)
    return value


def _text(value: object) -> str:
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _revision(text: str) -> int:
    if not text.isdigit() or len(text) > 15:
        raise argparse.ArgumentTypeError(f"{text!r} is not a revision; `parleyd settings` lists them")
    return int(text)
