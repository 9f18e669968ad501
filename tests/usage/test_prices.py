"""The prices of tokens, and the budgets in money."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from parleyd.agents.events import Token
from parleyd.config.retention import Budget, Price
from parleyd.config.schema import Config
from parleyd.core import events
from parleyd.usage.ledger import Amount
from parleyd.usage.limits import UsageLimits
from parleyd.usage.meter import UsageMeter
from parleyd.usage.prices import PRICES, cost, price_of
from parleyd.usage.store import FILE_NAME, Store
from waiting import until


def test_every_kind_of_token_has_a_price() -> None:
    assert {kind.value for kind in Token} == set(Price.__struct_fields__) - {"per_minute"}


def test_a_minute_of_talk_at_openai() -> None:
    """600 tokens of the person's sound and 1200 of the agent's: 0.0192 and 0.0768 dollars."""
    assert cost(PRICES["gpt-realtime-2.1"], {"audio_in": 600, "audio_out": 1200}, 0) == pytest.approx(0.096)
    assert cost(PRICES["gpt-realtime-2.1-mini"], {"audio_in": 600, "audio_out": 1200}, 0) == pytest.approx(0.03)
    assert cost(PRICES["gpt-realtime-whisper"], {}, 30) == pytest.approx(0.0085)


@pytest.mark.parametrize(
    ("model", "known"),
    [
        ("gpt-realtime-2.1", True),
        ("gpt-realtime-2.1-2026-06-01", True),
        ("gpt-realtime-2.1-nano", False),
        ("mine", True),
        ("", False),
    ],
)
def test_prices_of_models(model: str, known: bool) -> None:
    assert (price_of(model, {"mine": Price(text_in=1.0)}) is not None) is known


def test_the_configuration_replaces_a_price() -> None:
    mine = Price(text_in=1.0)
    assert price_of("gpt-realtime-2.1", {"gpt-realtime-2.1": mine}) is mine


class Counted:
    """A meter and its limits, with a budget."""

    def __init__(self, budget: Budget, directory: Path | None = None) -> None:
        self.told: list[events.Event] = []
        bus = events.Bus()
        bus.subscribe(self.told.append)
        self.store = Store(directory)
        self.meter = UsageMeter(self.store, Amount)
        self.limits = UsageLimits(Config(budget=budget), self.meter, bus)

    def spend(self, model: str = "gpt-realtime-2.1", seconds: float = 0.0, **tokens: int) -> None:
        self.meter(events.Spent(at_s=time.monotonic(), model=model, tokens=tokens, seconds=seconds))


def test_what_was_spent_is_counted_by_kind_and_in_money() -> None:
    counted = Counted(Budget(currency="EUR"))
    counted.spend(audio_in=600, audio_out=1200)
    counted.spend(audio_in=400)
    usage = counted.limits.usage()
    assert usage["tokens_today"] == usage["tokens_month"] == {"audio_in": 1000, "audio_out": 1200}
    assert usage["money_today"] == usage["money_month"] == pytest.approx(0.1088)
    assert (usage["currency"], usage["money_left_today"]) == ("EUR", None)


def test_a_budget_in_money_is_near_and_then_spent() -> None:
    counted = Counted(Budget(money_per_day=0.1))
    assert counted.limits.refusal(of_its_own=False) is None
    counted.spend(audio_out=1300)
    assert counted.limits.watch() is None
    [near] = counted.told
    assert isinstance(near, events.BudgetNear)
    assert (near.left_s, near.of_money, near.currency) == (None, 0.1, "USD")
    assert near.left_money == pytest.approx(0.0168)
    counted.spend(audio_out=1300)
    refusal = counted.limits.watch()
    assert refusal is not None
    assert "0.1 USD per day" in refusal.text
    assert "budget.money_per_day" in refusal.hint
    assert counted.limits.usage()["money_left_today"] == 0


def test_a_session_in_which_money_runs_out_is_looked_at_often() -> None:
    now_s = time.monotonic()
    assert Counted(Budget(money_per_month=1.0)).limits.next_look_s(now_s) <= now_s + 2.0
    assert Counted(Budget()).limits.next_look_s(now_s) == float("inf")


def test_minutes_have_a_price_too() -> None:
    counted = Counted(Budget(minute_price=0.6))
    counted.meter(
        events.SessionOpened(at_s=time.monotonic(), conversation_id="c", handshake_ms=0, resent_ms=0, tries=1)
    )
    until("it costs nothing", lambda: counted.limits.usage()["money_today"])


def test_a_model_without_a_price_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    counted = Counted(Budget(money_per_day=1.0))
    for _ in range(2):
        counted.spend("mine", text_in=10)
    assert [record.getMessage() for record in caplog.records if "no price is known" in record.getMessage()]
    assert len([record for record in caplog.records if "no price" in record.getMessage()]) == 1
    assert counted.limits.usage()["tokens_today"] == {"text_in": 20}


def test_what_was_spent_survives_and_old_files_load(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text('{"days": {"2026-11-01": {"session_s": 60.0}}, "months": {}}', encoding="utf-8")
    book = Store(tmp_path).load()
    assert book.days["2026-11-01"] == Amount(session_s=60.0)
    book.days["2026-11-02"] = Amount(money=0.1234567, tokens={"audio_in": 5.0})
    Store(tmp_path).save(book)
    assert Store(tmp_path).load() == book
