"""`parleyd usage`: minutes and money by day, in words."""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from parleyd.cli.daemon import add_options, refused
from parleyd.cli.terminal import rows, terminal_width
from parleyd.control.client import Client, NobodyListensError, NotRunningError, RefusedError
from parleyd.core.errors import UserError
from parleyd.core.text import json_text

_MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
           "November", "December")  # fmt: skip
_MOST_DAYS = 62


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "usage",
        description="Shows for how long there were sessions with the agent, and what they cost, with any provider: "
        "today, yesterday, this month, day by day, and what is left of the budget. The daemon need not run. Money "
        "needs a price: OpenAI's are known, budget.minute_price is that of a minute at ElevenLabs.",
    )
    parser.add_argument(
        "--days", type=_days, default=7, metavar="N", help="how many days are listed, 1 to 62; default: %(default)s"
    )
    parser.add_argument("-c", "--config", type=Path, metavar="FILE", help="the file, while no daemon runs")
    add_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    told = _told(args)
    if args.json:
        print(json_text(told))
        return os.EX_OK
    width = terminal_width()
    for line in page(told):
        text = line.lstrip()
        print("\n".join(rows(text, width, lead=line[: len(line) - len(text)], indent="  ")))
    return os.EX_OK


def _days(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= _MOST_DAYS:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of days; use 1 to {_MOST_DAYS}")
    return int(text)


def _told(args: argparse.Namespace) -> dict[str, Any]:
    if args.config is not None:
        return _from_file(args)
    try:
        with Client(args.socket) as client:
            return client.ask("usage", days=args.days)
    except NobodyListensError as error:
        if args.socket is None:
            return _from_file(args)
        raise refused(error) from error
    except (NotRunningError, RefusedError) as error:
        raise refused(error) from error


def _from_file(args: argparse.Namespace) -> dict[str, Any]:
    """The use that the daemon stored last."""
    # Imported here, because a running daemon answers by itself.
    from datetime import datetime

    import msgspec

    from parleyd.checks.configuration import ConfigError, load_without_agent
    from parleyd.config.retention import Budget
    from parleyd.host.directories import SYSTEM_STATE, config_path, state_place
    from parleyd.usage.statement import statement
    from parleyd.usage.store import FILE_NAME, read_book

    try:
        budget = load_without_agent(args.config or config_path()).config.budget
    except ConfigError as error:
        if args.config is not None:
            raise UserError(str(error), None, os.EX_CONFIG) from None
        budget = Budget()
    places = [SYSTEM_STATE / FILE_NAME]
    with contextlib.suppress(OSError):
        places.insert(0, state_place() / FILE_NAME)
    for place in places:
        try:
            book = read_book(place)
        except FileNotFoundError:
            continue
        except OSError as error:
            text = f"{place} cannot be read: {error.strerror}"
            raise UserError(text, "use the daemon's user, or start the daemon: parleyd status", os.EX_NOPERM) from None
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise UserError(
                f"{place} is damaged", "the daemon sets it aside at its next start", os.EX_DATAERR
            ) from None
        return dict(statement(book, budget, datetime.now(), args.days))
    text = "nothing was counted here yet, and no daemon runs"
    raise UserError(text, "start it: parleyd run, or its service", os.EX_UNAVAILABLE)


# ---------------------------------------------------------------- the page


def page(told: dict[str, Any]) -> Iterator[str]:
    """The lines of the page."""
    yield from _sentences(told)
    days = told["days"]
    if any(_is_something(day) for day in days):
        yield ""
        yield from _table(days, told)
    if not told["has_price"] and _is_something(told["this_month"]):
        yield ""
        yield "No price is known, so no money is counted: set budget.minute_price to that of a minute."


def _sentences(told: dict[str, Any]) -> Iterator[str]:
    left = {period: [one for one in told["left"] if one["period"] == period] for period in ("day", "month")}
    month = _MONTHS[int(told["month"][5:]) - 1]
    for name, spent, rest in (
        ("Today", told["today"], _rest(left["day"], "today", told["currency"])),
        ("Yesterday", told["yesterday"], ""),
        (month, told["this_month"], _rest(left["month"], "this month", told["currency"])),
    ):
        yield f"{name}: {_in_words(spent, told)}{rest}."


def _in_words(spent: dict[str, Any], told: dict[str, Any]) -> str:
    if not _is_something(spent):
        return "no conversation"
    words = f"{duration(spent['minutes'])} of conversation"
    return f"{words}, {money(spent['money'], told['currency'])}" if told["has_price"] else words


def _rest(left: list[dict[str, Any]], when: str, currency: str) -> str:
    """The rest of the budgets, behind a semicolon."""
    parts = []
    for one in left:
        is_time = one["unit"] == "minutes"
        of = duration(one["size"]) if is_time else money(one["size"], currency)
        if one["left"] <= 0:
            parts.append(f"the budget of {of} is spent")
        else:
            rest = duration(one["left"]) if is_time else money(one["left"], currency)
            parts.append(f"{rest} of {of} left {when}")
    return f"; {', '.join(parts)}" if parts else ""


def _table(days: list[dict[str, Any]], told: dict[str, Any]) -> Iterator[str]:
    times = [duration(day["minutes"]) if _is_something(day) else "-" for day in days]
    most = max(len(text) for text in times)
    for day, text in zip(days, times, strict=True):
        cost = f"  {money(day['money'], told['currency']):>12}" if told["has_price"] and _is_something(day) else ""
        yield f"  {day['day']}  {text:>{most}}{cost}"


def _is_something(spent: dict[str, Any]) -> bool:
    return bool(spent["minutes"] or spent["money"] or spent["tokens"])


def duration(minutes: float) -> str:
    """Such as 12 min, 0.4 min, 2 s or 6 h 42 min."""
    if 0 < minutes < 0.1:
        return f"{max(1, round(60 * minutes))} s"
    if minutes < 1:
        return f"{minutes:.1f} min"
    whole = round(minutes)
    hours, rest = divmod(whole, 60)
    return f"{hours} h {rest} min" if hours else f"{rest} min"


def money(amount: float, currency: str) -> str:
    """Cents, and more digits for less than a cent."""
    return f"{amount:.4f} {currency}" if 0 < amount < 0.01 else f"{amount:.2f} {currency}"
