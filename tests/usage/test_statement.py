"""The use day by day: the figures, and the words of `parleyd usage`."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import pytest

from parleyd.cli import usage
from parleyd.cli.main import main
from parleyd.cli.usage import page
from parleyd.config.retention import Budget
from parleyd.usage.ledger import Amount, Book
from parleyd.usage.statement import statement

LOCAL = datetime(2026, 11, 29, 20, 0)
BOOK = Book(
    days={
        "2026-11-29": Amount(session_s=744, money=0.992),
        "2026-11-28": Amount(session_s=1860, money=2.48),
        "2026-11-20": Amount(session_s=60),
    },
    months={"2026-11": Amount(session_s=24_120, money=32.1), "2026-10": Amount(session_s=9)},
)


def test_today_yesterday_and_the_month() -> None:
    told = statement(BOOK, Budget(minutes_per_day=30, money_per_month=30), LOCAL, 3)
    assert told["today"] == {"minutes": 12.4, "money": 0.992, "tokens": 0}
    assert told["yesterday"] == {"minutes": 31.0, "money": 2.48, "tokens": 0}
    assert told["this_month"] == {"minutes": 402.0, "money": 32.1, "tokens": 0}
    assert [(day["day"], day["minutes"]) for day in told["days"]] == [
        ("2026-11-29", 12.4),
        ("2026-11-28", 31.0),
        ("2026-11-27", 0.0),
    ]
    assert told["left"] == [
        {"period": "day", "unit": "minutes", "left": 17.6, "size": 30.0},
        {"period": "month", "unit": "money", "left": 0.0, "size": 30},
    ]


def test_use_from_before_the_clock_was_set_counts_as_today_s() -> None:
    told = statement(Book(undated=Amount(session_s=120, tokens={"text_in": 4.0, "audio_in": 6.4})), Budget(), LOCAL, 1)
    assert told["today"] == told["this_month"] == {"minutes": 2.0, "money": 0.0, "tokens": 10}
    assert told["days"][0]["minutes"] == 2.0


def test_the_page_in_words() -> None:
    told = statement(BOOK, Budget(minutes_per_day=30, money_per_month=30), LOCAL, 3)
    assert "\n".join(page(dict(told))) == (
        "Today: 12 min of conversation, 0.99 USD; 18 min of 30 min left today.\n"
        "Yesterday: 31 min of conversation, 2.48 USD.\n"
        "November: 6 h 42 min of conversation, 32.10 USD; the budget of 30.00 USD is spent.\n"
        "\n"
        "  2026-11-29  12 min      0.99 USD\n"
        "  2026-11-28  31 min      2.48 USD\n"
        "  2026-11-27       -"
    )


def test_without_a_price_no_money_is_told_and_the_key_is() -> None:
    book = Book(days={"2026-11-29": Amount(session_s=24)}, months={"2026-11": Amount(session_s=24)})
    text = "\n".join(page(dict(statement(book, Budget(), LOCAL, 1))))
    assert "Today: 0.4 min of conversation." in text
    assert "USD" not in text
    assert "budget.minute_price" in text
    assert "\n".join(page(dict(statement(Book(), Budget(), LOCAL, 7)))) == (
        "Today: no conversation.\nYesterday: no conversation.\nNovember: no conversation."
    )


def test_a_conversation_of_seconds_is_one() -> None:
    """After a wake for nothing `no conversation` would be wrong, though it is no tenth of a minute."""
    book = Book(days={"2026-11-29": Amount(session_s=2)}, months={"2026-11": Amount(session_s=2)})
    text = "\n".join(page(dict(statement(book, Budget(), LOCAL, 1))))
    assert text.startswith("Today: 2 s of conversation.\nYesterday: no conversation.\n")
    assert "  2026-11-29  2 s" in text


def test_on_the_first_of_a_month_yesterday_s_money_is_told() -> None:
    book = Book(days={"2026-11-30": Amount(session_s=60, money=0.5), "2026-11-26": Amount(session_s=60, money=0.7)})
    first = datetime(2026, 12, 1, 8, 0)
    assert statement(book, Budget(), first, 1)["has_price"], "of yesterday"
    del book.days["2026-11-30"]
    assert statement(book, Budget(), first, 7)["has_price"], "of a listed day"
    assert not statement(book, Budget(), first, 1)["has_price"], "none of it is shown"


def test_the_stored_book_is_read_while_no_daemon_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.delenv("PARLEYD_SOCKET", raising=False)
    file = tmp_path / "c.yaml"
    file.write_text("provider: local\nbudget: {minutes_per_day: 10}\n")
    today = datetime.now().date().isoformat()
    (tmp_path / "usage.json").write_text(
        json.dumps({"days": {today: {"session_s": 240}}, "months": {today[:7]: {"session_s": 240}}})
    )
    assert main(["usage", "-c", str(file), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["today"]["minutes"] == 4.0
    assert told["left"][0]["left"] == 6.0
    # At a terminal, too, the days stand in a table of their own.
    monkeypatch.setattr(usage, "terminal_width", lambda: 40)
    assert main(["usage", "-c", str(file)]) == 0
    assert f"\n  {today}  4 min\n" in capsys.readouterr().out
    (tmp_path / "usage.json").write_text("{")
    assert main(["usage", "-c", str(file)]) == 65
    assert "is damaged" in capsys.readouterr().err
    (tmp_path / "usage.json").unlink()
    assert main(["usage", "-c", str(file)]) == 69
    assert "no daemon runs; start it: parleyd run, or its service" in " ".join(capsys.readouterr().err.split())
    assert main(["usage", "--days", "0"]) == 64
