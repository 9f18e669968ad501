"""When there is a session and why it ends: by hand, and over generated sequences."""

# What is asserted of a property stands until it is asserted again, mypy thinks.
# mypy: disable-error-code="comparison-overlap,unreachable"

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from parleyd.agents.events import Ready
from parleyd.audio.pcm import AudioFormat
from parleyd.config.schema import Config, ElevenLabs, Reconnect, Session
from parleyd.config.schema import Wake as WakeSection
from parleyd.config.tool_sections import Tools
from parleyd.conversation.dialogue.commands import Log, Publish
from parleyd.conversation.dialogue.idle import IdleEnd, Patience
from parleyd.conversation.supervisor.commands import (
    Abandon,
    Command,
    Commands,
    Conclude,
    Connect,
    ForgetSpeech,
    GiveUpSpeech,
    GiveUpTyped,
    HangUp,
    LineEnded,
    PersonWakes,
    Refuse,
    Sleep,
    Wake,
    WakeAgain,
    WokenForNothing,
)
from parleyd.conversation.supervisor.lifecycle import (
    ALLOWED_LOOK_S,
    DEAF_S,
    FAREWELL_LOOK_S,
    GRACE_S,
    HANGS_AFTER_S,
    SLOW_S,
    STABLE_S,
    Lifecycle,
)
from parleyd.core import events
from parleyd.core.endings import Ending, EndingKind
from parleyd.core.log_fields import NOTICE
from parleyd.core.states import State, Trigger
from parleyd.usage.allowance import MOST_BY_DEVICE, Refusal

C = TypeVar("C")
PCM = AudioFormat("pcm", 16_000)
LOST = Ending(EndingKind.RETRY, "the line was lost")
FINAL = Ending(EndingKind.FINAL, "a wrong key", "set another")
AGENT = Ending(EndingKind.AGENT, "the agent hung up", code=1000)
NO_GREETING = Ending(EndingKind.FINAL, "override refused", "enable the override", greeting_refused=True)
QUIET_HOURS = Refusal("quiet hours", "these are quiet hours", "wait", "6")
BUDGET = Refusal("budget", "the budget is spent", "wait", "day")
SPEECH, COMMAND, DEVICE, STANDING = (
    Wake(by_speech=True),
    Wake(by_speech=False),
    Wake(by_speech=False, by_device=True),
    Wake(by_speech=False, standing=True),
)


@dataclass
class Known:
    """Facts, as a test sets them."""

    kept_until_s: float | None = None
    kept_from_s: float | None = None
    kept_ms: int = 0
    typed_s: float | None = None
    only_device_typed: bool = False
    talk_since_s: float | None = None
    continues: bool = False
    understood: bool = False
    agent_hangs_up: bool = False
    farewell_s: float | None = None
    quiet: float = 0.0
    is_pause: bool = False
    verdict: IdleEnd | None = None
    next_idle_s: float = 20.0
    asked_again: bool = False
    refused: Refusal | None = None
    refused_of_its_own: Refusal | None = None
    spent: Refusal | None = None
    patience: Patience | None = None

    def quiet_s(self, now_s: float) -> float:
        return self.quiet

    def between_turns(self, now_s: float) -> bool:
        return self.is_pause

    def no_longer_needed(self, now_s: float, patience: Patience) -> IdleEnd | None:
        self.patience = patience
        return self.verdict

    def next_idle_look_s(self, now_s: float, patience: Patience) -> float:
        return now_s + self.next_idle_s

    def is_asked_again(self, now_s: float) -> bool:
        return self.asked_again

    def refusal(self, *, of_its_own: bool) -> Refusal | None:
        return self.refused or (self.refused_of_its_own if of_its_own else None)

    def budget_spent(self) -> Refusal | None:
        return self.spent

    def next_budget_look_s(self, now_s: float) -> float:
        return float("inf")


def config(mode: str = "speech", **session: float) -> Config:
    return Config(
        wake=WakeSection(mode=mode),  # type: ignore[arg-type]
        session=Session(**session),
        reconnect=Reconnect(initial_s=1.0, max_s=60.0),
    )


class Life:
    """A lifecycle, a clock, and the commands that it gave."""

    def __init__(self, its_config: Config | None = None) -> None:
        self.config = its_config or config()
        self.lifecycle = Lifecycle(self.config)
        self.facts = Known()
        self.now_s = 1000.0
        self.commands: list[Command] = []

    def run(self, commands: Commands) -> list[Command]:
        """→ those of this step."""
        step = list(commands)
        self.commands += step
        return step

    def take(self, message: Wake | Sleep) -> list[Command]:
        return self.run(self.lifecycle.take(message, self.now_s, self.facts))

    def look(self, after_s: float = 0.0) -> list[Command]:
        self.now_s += after_s
        return self.run(self.lifecycle.look(self.now_s, self.facts))

    def opens(self, conversation: str = "c1", ends_in_s: float | None = None) -> list[Command]:
        return self.run(self.lifecycle.opened(Ready(conversation, PCM, PCM, ends_in_s), self.now_s, self.facts))

    def ends(self, ending: Ending = LOST, *, suppressed: bool = False) -> list[Command]:
        return self.run(self.lifecycle.ended(ending, suppressed, self.now_s, self.facts))

    @property
    def state(self) -> State:
        return self.lifecycle.state

    def of(self, kind: type[C]) -> list[C]:
        return [command for command in self.commands if isinstance(command, kind)]

    def told(self, kind: type[C]) -> list[C]:
        published = [command.event for command in self.commands if isinstance(command, Publish)]
        return [event for event in published if isinstance(event, kind)]

    @property
    def next_look_s(self) -> float:
        return self.lifecycle.next_look_s(self.now_s, self.facts) - self.now_s


def live(its_config: Config | None = None, wake: Wake = SPEECH) -> Life:
    life = Life(its_config)
    life.take(wake)
    life.opens()
    return life


def backing_off(its_config: Config | None = None) -> Life:
    life = Life(its_config)
    life.take(SPEECH)
    life.ends()
    assert life.state is State.BACKING_OFF
    return life


def last_move(life: Life) -> tuple[str, str]:
    moved = life.told(events.StateChanged)[-1]
    return moved.trigger, moved.after


# ---------------------------------------------------------------- wakes


@pytest.mark.parametrize(
    ("wake", "by", "asks_for_silence"),
    [(SPEECH, "speech", True), (COMMAND, "command", False), (DEVICE, "device", False), (STANDING, None, False)],
)
def test_what_wakes_it_is_told_and_decides_about_the_greeting(
    wake: Wake, by: str | None, asks_for_silence: bool
) -> None:
    life = Life()
    life.take(wake)
    assert life.state is State.CONNECTING
    assert life.of(Connect) == [Connect(asks_for_silence)]
    assert [event.by for event in life.told(events.Woken)] == ([by] if by else [])
    assert life.lifecycle.deaf is (wake is DEVICE)


@pytest.mark.parametrize(
    ("facts", "greeting", "unwanted"),
    [
        (Known(), "auto", False),
        (Known(), "skip", True),
        (Known(typed_s=1.0), "auto", True),
        (Known(continues=True), "auto", True),
        (Known(typed_s=1.0, continues=True), "play", False),
    ],
)
def test_a_greeting_is_unwanted_where_something_was_said_already(facts: Known, greeting: str, unwanted: bool) -> None:
    life = Life(replace_wake(config(), greeting))
    life.facts = facts
    life.take(COMMAND)
    assert life.of(Connect) == [Connect(unwanted)]


def replace_wake(its_config: Config, greeting: str) -> Config:
    return Config(wake=WakeSection(greeting=greeting), session=its_config.session)  # type: ignore[arg-type]


def test_a_second_wake_changes_nothing_but_a_retry_that_waits_comes_at_once_by_command() -> None:
    life = live()
    life.take(COMMAND)
    assert len(life.of(Connect)) == 1
    life = backing_off()
    life.take(SPEECH)
    assert life.state is State.BACKING_OFF, "a noisy room must not hammer a broken server"
    life.take(COMMAND)
    assert life.state is State.CONNECTING


def test_a_session_of_the_devices_is_deaf_until_somebody_wakes_it() -> None:
    life = live(wake=DEVICE)
    assert life.lifecycle.deaf
    life.facts.verdict = None
    life.look()
    assert life.facts.patience is not None
    assert life.facts.patience.no_person_s == DEAF_S
    life.take(SPEECH)
    assert not life.lifecycle.deaf
    assert life.of(PersonWakes)
    assert [event.by for event in life.told(events.Woken)] == ["device", "speech"]
    life.look()
    assert life.facts.patience.no_person_s == life.config.session.no_person_s
    assert life.facts.patience.by_speech


def test_whoever_is_asleep_is_not_deaf() -> None:
    life = live(wake=DEVICE)
    life.take(Sleep())
    assert not life.lifecycle.deaf


def test_the_device_opens_only_so_many_sessions() -> None:
    life = Life()
    for _ in range(MOST_BY_DEVICE):
        life.take(DEVICE)
        life.take(Sleep())
    assert not life.of(Refuse)
    life.take(DEVICE)
    assert life.state is State.ASLEEP
    assert [command.refusal.cause for command in life.of(Refuse)] == ["device"]


# ---------------------------------------------------------------- refusals


def test_where_none_may_be_begun_what_was_said_is_for_nobody() -> None:
    life = Life()
    life.facts.refused_of_its_own = QUIET_HOURS
    life.take(SPEECH)
    assert life.state is State.ASLEEP
    assert life.of(Refuse) == [Refuse(QUIET_HOURS, True)]
    assert ForgetSpeech(float("inf")) in life.commands
    life.take(COMMAND)
    assert life.state is State.CONNECTING, "a command wakes in quiet hours, too"
    assert life.commands.count(ForgetSpeech(life.now_s)) == 1, "the rest of what was said then"


def test_what_is_being_said_when_it_is_allowed_again_is_for_the_agent() -> None:
    life = Life()
    life.facts.refused_of_its_own = QUIET_HOURS
    life.take(SPEECH)
    life.facts.refused_of_its_own = None
    life.facts.talk_since_s = life.now_s - 1.0
    life.take(SPEECH)
    assert life.of(ForgetSpeech)[-1].before_s == life.now_s - 1.0 - life.config.gate.pre_roll_ms / 1000


def test_a_line_that_was_begun_is_taken_up_again_in_quiet_hours() -> None:
    life = backing_off()
    life.facts.refused_of_its_own = QUIET_HOURS
    life.look(after_s=1.0)
    assert life.state is State.CONNECTING


def test_a_spent_budget_refuses_a_command_unless_it_says_anyway() -> None:
    life = Life()
    life.facts.refused = life.facts.spent = BUDGET
    life.take(COMMAND)
    assert life.state is State.ASLEEP
    life.take(Wake(by_speech=False, anyway=True))
    life.opens()
    life.look(after_s=2 * GRACE_S)
    assert life.state is State.LIVE, "whoever says anyway means all of it"
    life.take(Sleep())
    life.take(COMMAND)
    assert life.state is State.ASLEEP, "anyway holds for one session"
    life.facts.refused = None
    life.facts.is_pause = True
    life.take(COMMAND)
    life.opens("c2")
    life.look()
    assert last_move(life) == ("spent", "asleep")


def test_always_waits_for_what_refuses_it_and_comes_back() -> None:
    life = Life(config("always"))
    life.facts.refused_of_its_own = QUIET_HOURS
    life.take(STANDING)
    assert life.next_look_s == ALLOWED_LOOK_S
    life.look(after_s=ALLOWED_LOOK_S)
    assert life.state is State.ASLEEP
    life.facts.refused_of_its_own = None
    life.look(after_s=ALLOWED_LOOK_S)
    assert life.state is State.CONNECTING


# ---------------------------------------------------------------- why a session ends


def test_idle_and_false_wakes() -> None:
    for is_false_wake in (False, True):
        life = live()
        life.facts.verdict = IdleEnd("nobody", is_false_wake)
        life.look()
        assert last_move(life) == ("false wake" if is_false_wake else "idle", "asleep")
        assert [type(one) for one in life.commands if isinstance(one, HangUp | Conclude | GiveUpSpeech)] == [
            HangUp,
            Conclude,
            GiveUpSpeech,
        ]
        assert life.of(Conclude)[0].keep_history
        assert life.of(GiveUpSpeech)[0].was_heard_out
        assert bool(life.of(WokenForNothing)) is is_false_wake


def test_a_wake_word_is_no_matter_of_loudness() -> None:
    life = live(config("word"))
    life.facts.verdict = IdleEnd("nobody", True)
    life.look()
    assert not life.of(WokenForNothing)
    assert life.told(events.Woken)[0].by == "word"


@pytest.mark.parametrize("is_false_wake", [False, True])
def test_always_comes_back_after_quiet_hours_whatever_they_ended(is_false_wake: bool) -> None:
    life = live(config("always"), STANDING)
    life.take(Sleep())
    life.take(SPEECH)
    life.opens("c2")
    life.facts.refused_of_its_own, life.facts.verdict = QUIET_HOURS, IdleEnd("nobody", is_false_wake)
    life.look()
    assert life.state is State.ASLEEP
    life.facts.refused_of_its_own = life.facts.verdict = None
    assert life.next_look_s <= ALLOWED_LOOK_S
    life.look(after_s=ALLOWED_LOOK_S)
    assert life.state is State.CONNECTING


def test_always_is_held_for_ever_but_for_quiet_hours_and_a_farewell() -> None:
    life = live(config("always"), STANDING)
    life.facts.verdict = IdleEnd("nobody", False)
    life.look()
    assert life.state is State.LIVE
    assert life.next_look_s <= ALLOWED_LOOK_S
    life.facts.refused_of_its_own = QUIET_HOURS
    life.look()
    assert life.state is State.ASLEEP
    life = live(config("always"), STANDING)
    life.facts.farewell_s, life.facts.quiet = 1.5, 1.4
    assert life.next_look_s == FAREWELL_LOOK_S
    life.look()
    assert life.state is State.LIVE
    life.facts.quiet = 1.5
    life.look()
    assert last_move(life) == ("idle", "asleep")


def test_a_budget_ends_it_in_a_pause_and_late_in_any_case_and_is_told_once() -> None:
    life = live()
    life.facts.spent = BUDGET
    life.look()
    life.look(after_s=GRACE_S - 1)
    assert life.state is State.LIVE
    life.look(after_s=1)
    assert last_move(life) == ("spent", "asleep")
    assert len(life.told(events.BudgetSpent)) == 1
    life = live()
    life.facts.spent, life.facts.is_pause = BUDGET, True
    life.look()
    assert last_move(life) == ("spent", "asleep")
    life = backing_off()
    life.facts.spent = BUDGET
    life.look(after_s=-1)
    assert last_move(life) == ("spent", "asleep"), "nobody is in mid turn where there is no session"


@given(st.floats(0, 2000), st.floats(0, 2000), st.booleans(), st.booleans())
def test_only_a_budget_cuts_a_turn_and_that_late(
    age_s: float, spent_s: float, is_pause: bool, has_budget: bool
) -> None:
    life = live(config(max_s=540.0))
    if has_budget:
        life.facts.spent = BUDGET
        life.look()
    life.facts.is_pause = is_pause
    life.look(after_s=spent_s if has_budget else age_s)
    if has_budget:
        assert (life.state is State.ASLEEP) is (is_pause or spent_s >= GRACE_S)
    else:
        assert (life.state is State.CONNECTING) is (is_pause and age_s >= 540.0)


@pytest.mark.parametrize(("ends_in_s", "after_s"), [(3600.0, 540.0), (600.0, 480.0), (100.0, 80.0)])
def test_a_session_whose_end_is_known_is_exchanged_before_it(ends_in_s: float, after_s: float) -> None:
    life = Life(config(max_s=540.0))
    life.take(COMMAND)
    life.opens(ends_in_s=ends_in_s)
    life.facts.is_pause = True
    life.look(after_s=after_s - 1.0)
    assert life.state is State.LIVE
    assert life.lifecycle.next_look_s(life.now_s, life.facts) <= life.now_s + 1.0
    life.look(after_s=1.0)
    assert life.state is State.CONNECTING


def test_a_session_whose_end_is_announced_is_exchanged_in_the_next_pause() -> None:
    life = Life(config(max_s=540.0))
    life.take(COMMAND)
    life.opens()
    life.facts.is_pause = False
    life.lifecycle.ends_soon(50.0, life.now_s)
    life.look(after_s=5.0)
    assert life.state is State.LIVE
    life.facts.is_pause = True
    life.look()
    assert life.state is State.CONNECTING
    life.opens("c2")
    life.look(after_s=5.0)
    assert life.state is State.LIVE, "it was the end of the session before"


def test_an_old_session_is_exchanged_without_a_greeting_and_the_conversation_goes_on() -> None:
    life = live(config(max_s=540.0), COMMAND)
    life.facts.is_pause = True
    step = life.look(after_s=540.0)
    assert [type(one) for one in step if not isinstance(one, Publish | Log)] == [HangUp, Connect]
    assert life.of(Connect)[-1] == Connect(suppress_greeting=True)
    assert not life.of(Conclude)
    life.ends(NO_GREETING, suppressed=True)
    assert life.lifecycle.greeting_is_unwanted(life.facts), "still, also where it cannot be asked for"
    life.opens("c2")
    assert not life.lifecycle.greeting_is_unwanted(life.facts)
    assert [event.conversation_id for event in life.told(events.SessionOpened)] == ["c1", "c2"]


def test_idle_comes_before_age() -> None:
    life = live(config(max_s=540.0))
    life.facts.is_pause, life.facts.verdict = True, IdleEnd("nobody", False)
    life.look(after_s=600.0)
    assert last_move(life) == ("idle", "asleep")


# ---------------------------------------------------------------- the agent


def test_a_proper_close_is_an_end_unless_something_was_said_just_before() -> None:
    life = live()
    life.ends(AGENT)
    assert last_move(life) == ("agent hung up", "asleep")
    assert not life.of(Conclude)[0].keep_history
    life = live()
    life.facts.asked_again = True
    life.ends(AGENT)
    assert last_move(life) == ("lost", "backing off")
    life = live()
    life.facts.asked_again = life.facts.agent_hangs_up = True
    life.ends(LOST)
    assert last_move(life) == ("agent hung up", "asleep"), "it had said so"


def test_an_agent_that_hangs_up_on_somebody_who_talks_is_called_again() -> None:
    life = live()
    life.facts.talk_since_s = life.now_s
    life.ends(AGENT)
    assert life.state is State.ASLEEP
    assert not life.of(WokenForNothing), "it has not judged what woke the daemon"
    life.look()
    assert life.state is State.CONNECTING


@pytest.mark.parametrize(("understood", "doubts"), [(False, 1), (True, 0)])
def test_an_agent_that_hangs_up_before_it_understood_anything_was_woken_for_nothing(
    understood: bool, doubts: int
) -> None:
    life = live()
    life.facts.understood = understood
    life.ends(AGENT)
    assert len(life.of(WokenForNothing)) == doubts
    life = live(wake=COMMAND)
    life.facts.understood = understood
    life.ends(AGENT)
    assert not life.of(WokenForNothing)


def test_a_session_that_was_cut_for_its_age_goes_on_in_the_next() -> None:
    life = live()
    life.ends(replace(AGENT, time_is_up=True))
    assert life.of(Conclude)[0].keep_history


def test_a_greeting_that_cannot_be_switched_off_is_told_once_and_asked_for_no_more() -> None:
    life = Life()
    life.take(SPEECH)
    life.ends(NO_GREETING, suppressed=True)
    assert life.of(Connect) == [Connect(True), Connect(False)]
    assert "enable the override" in (life.told(events.Trouble)[0].hint or "")
    life.opens()
    life.take(Sleep())
    life.take(SPEECH)
    assert life.of(Connect)[-1] == Connect(False)


def test_an_override_that_is_not_about_the_greeting_is_the_users_to_fix() -> None:
    life = Life(Config(elevenlabs=ElevenLabs(agent_id="a")))
    life.take(SPEECH)
    life.ends(replace(NO_GREETING, greeting_refused=False), suppressed=True)
    assert life.state is State.BACKING_OFF


# ---------------------------------------------------------------- retries and outages


def test_a_lost_line_is_tried_at_once_and_a_final_error_as_late_as_allowed() -> None:
    life = live()
    life.ends(LOST)
    assert life.next_look_s == 0.0
    life = live()
    life.ends(FINAL)
    assert life.next_look_s == 60.0
    life.look(after_s=59.9)
    assert life.state is State.BACKING_OFF
    life.look(after_s=0.1)
    assert life.state is State.CONNECTING


def test_an_outage_is_told_once_when_it_begins_and_once_when_a_session_has_held() -> None:
    life = live()
    for _ in range(5):
        life.ends(LOST)
        life.look(after_s=60.0)
    assert [event.text for event in life.told(events.Trouble)] == ["the line was lost"]
    life.opens("c2")
    assert any("the line is back" in line.text for line in life.of(Log))


def test_a_line_that_is_lost_again_at_once_is_not_back() -> None:
    life = live()
    for _ in range(2):
        life.ends(LOST)
        life.look(after_s=60.0)
        life.opens()
    life.commands.clear()
    life.ends(LOST)
    life.look(after_s=60.0)
    life.opens()
    assert not [line for line in life.of(Log) if "is back" in line.text]
    life.look(after_s=STABLE_S)
    assert [line for line in life.of(Log) if "is back" in line.text]


def test_an_agent_that_hangs_up_before_it_has_begun_is_an_outage_that_is_told_once() -> None:
    life = Life()
    life.take(SPEECH)
    for _ in range(3):
        life.ends(AGENT)
        assert life.state is State.BACKING_OFF
        life.look(after_s=60.0)
    assert [trouble.text for trouble in life.told(events.Trouble)] == ["no line to the agent: the agent hung up"]
    levels = [line.level for line in life.of(Log)]
    assert levels.count(logging.WARNING) == 1
    assert levels.count(logging.INFO) == 1, "the first move; those of an outage are of no interest"
    life.opens()
    assert [line.text for line in life.of(Log) if line.level == NOTICE] == ["the line is back after 180.0 s"]


def test_a_session_tells_how_often_it_was_tried() -> None:
    life = Life(config(max_s=540.0))
    life.take(SPEECH)
    life.ends(LOST)
    life.look()
    life.opens()
    assert life.told(events.SessionOpened)[-1].tries == 2
    life.facts.is_pause = True
    life.look(after_s=540.0)
    life.opens("c2")
    assert life.told(events.SessionOpened)[-1].tries == 1, "an exchange is a try of its own"
    life.take(Sleep())
    life.take(SPEECH)
    life.take(Sleep())
    life.take(SPEECH)
    life.opens("c3")
    assert life.told(events.SessionOpened)[-1].tries == 1, "nobody waited for the one that was given up"


def test_ten_seconds_of_good_line_start_the_delays_over() -> None:
    life = live()
    for _ in range(5):
        life.ends(LOST)
        life.look(after_s=60.0)
    life.opens()
    assert life.told(events.SessionOpened)[-1].tries == 5
    life.now_s += STABLE_S
    life.ends(LOST)
    assert life.next_look_s == 0.0


def test_errors_of_another_kind_are_told_within_an_outage() -> None:
    life = live()
    for ending in (FINAL, FINAL, replace(FINAL, hint="another"), replace(FINAL, reason="the same in other words")):
        life.ends(ending)
        life.look(after_s=60.0)
    assert [event.hint for event in life.told(events.Trouble)] == ["set another", "another"]


def test_connecting_that_takes_long_is_told_once_and_one_that_hangs_is_given_up() -> None:
    life = Life(config(connect_timeout_s=10.0))
    life.take(SPEECH)
    assert life.next_look_s == SLOW_S
    life.look(after_s=SLOW_S)
    life.look()
    assert [event.part for event in life.told(events.Trouble)] == ["agent"]
    life.look(after_s=30.0 + HANGS_AFTER_S - SLOW_S)
    assert life.of(Abandon)
    assert last_move(life) == ("lost", "backing off")


# ---------------------------------------------------------------- what was said


def test_what_is_too_old_is_given_up_and_with_the_newest_the_session_that_was_for_it() -> None:
    life = backing_off(config(keep_utterance_s=60.0))
    life.facts.kept_from_s, life.facts.kept_until_s = life.now_s - 60.0, life.now_s - 1.0
    life.look(after_s=-0.0)
    assert life.of(GiveUpSpeech)[-1].is_whole_utterances
    life.facts.kept_until_s = life.now_s - 60.0
    life.look()
    assert last_move(life) == ("given up", "asleep")
    assert GiveUpTyped(life.now_s, "no agent could be reached for it in time") in life.commands


def test_what_was_said_where_no_session_was_allowed_is_not_told_as_lost() -> None:
    life = Life()
    life.facts.refused_of_its_own = QUIET_HOURS
    life.take(SPEECH)
    life.facts.kept_until_s = life.now_s
    life.look(after_s=1000.0)
    assert [command.is_told for command in life.of(GiveUpSpeech)] == [False]


def test_what_is_typed_while_a_session_is_being_ended_wakes_again() -> None:
    life = live()
    life.facts.typed_s, life.facts.only_device_typed = life.now_s, True
    life.take(Sleep())
    assert life.of(WakeAgain) == [WakeAgain(DEVICE)]


def test_sleep_is_an_end_in_every_state_and_gives_up_what_is_said() -> None:
    for life in (live(), backing_off()):
        life.take(Sleep())
        assert last_move(life) == ("sleep", "asleep")
        assert not life.of(Conclude)[-1].keep_history
        assert life.next_look_s == float("inf")
    life = Life()
    assert life.take(Sleep()) == []


def test_every_session_that_began_is_told_to_have_ended() -> None:
    life = live()
    life.run(life.lifecycle.stop(life.now_s))
    assert [event.conversation_id for event in life.told(events.SessionEnded)] == ["c1"]
    life.run(life.lifecycle.stop(life.now_s))
    assert len(life.told(events.SessionEnded)) == 1


def test_a_new_configuration_is_tried_at_once_where_one_was_waited_for() -> None:
    life = live()
    life.ends(FINAL)
    life.run(life.lifecycle.reconfigure(config(), life.now_s, life.facts))
    assert life.state is State.CONNECTING
    life = Life()
    life.run(life.lifecycle.reconfigure(config("always"), life.now_s, life.facts))
    assert life.state is State.CONNECTING


# ---------------------------------------------------------------- generated

STEPS = st.one_of(
    st.tuples(st.just("wake"), st.sampled_from([SPEECH, COMMAND, DEVICE, STANDING, Wake(False, anyway=True)])),
    st.tuples(st.just("sleep"), st.none()),
    st.tuples(st.just("opens"), st.none()),
    st.tuples(st.just("ends"), st.sampled_from([LOST, FINAL, AGENT, NO_GREETING, replace(AGENT, time_is_up=True)])),
    st.tuples(st.just("look"), st.sampled_from([0.0, 0.3, 5.0, 11.0, 40.0, 100.0, 700.0])),
    st.tuples(st.just("config"), st.sampled_from(["speech", "always", "word", "manual"])),
    st.tuples(st.just("understood"), st.booleans()),
    st.tuples(st.just("agent_hangs_up"), st.booleans()),
    st.tuples(st.just("asked_again"), st.booleans()),
    st.tuples(st.just("is_pause"), st.booleans()),
    st.tuples(st.just("farewell_s"), st.sampled_from([None, 1.5])),
    st.tuples(st.just("quiet"), st.sampled_from([0.0, 2.0])),
    st.tuples(st.just("verdict"), st.sampled_from([None, IdleEnd("nobody", False), IdleEnd("nobody", True)])),
    st.tuples(st.just("refused_of_its_own"), st.sampled_from([None, QUIET_HOURS])),
    st.tuples(st.just("refused"), st.sampled_from([None, BUDGET])),
    st.tuples(st.just("spent"), st.sampled_from([None, BUDGET])),
    st.tuples(st.just("talk_since_s"), st.sampled_from([None, 999.0])),
    st.tuples(st.just("typed_s"), st.sampled_from([None, 999.0])),
    st.tuples(st.just("kept_until_s"), st.sampled_from([None, 999.0])),
    st.tuples(st.just("kept_from_s"), st.sampled_from([None, 998.0])),
)


@settings(max_examples=400, deadline=None)
@given(st.lists(STEPS, max_size=40), st.sampled_from(["speech", "always"]))
def test_nothing_impossible_is_ever_decided_and_the_books_are_kept(steps: list[tuple[str, object]], mode: str) -> None:
    """There is at most one session; each that is told to have opened is told to have ended before the next one; whoever
    is asleep holds none and owes nothing; a state is left as it was entered."""
    life = Life(config(mode))
    for name, value in steps:
        done = len(life.commands)
        match name, value:
            case "wake", Wake() as wake:
                life.take(wake)
            case "sleep", _:
                life.take(Sleep())
            case "opens", _:
                if life.state is State.CONNECTING:
                    life.opens()
            case "ends", Ending() as ending:
                if life.state in (State.CONNECTING, State.LIVE):
                    life.ends(ending, suppressed=life.of(Connect)[-1].suppress_greeting)
            case "look", float(seconds):
                life.look(seconds)
            case "config", str(other):
                life.run(life.lifecycle.reconfigure(config(other), life.now_s, life.facts))
            case _:
                setattr(life.facts, name, value)
        if life.state is State.ASLEEP and any(isinstance(one, HangUp | LineEnded) for one in life.commands[done:]):
            assert any(isinstance(one, Conclude) for one in life.commands[done:])
            assert not life.lifecycle.deaf
        if life.state is State.BACKING_OFF:
            assert life.next_look_s < float("inf"), "somebody comes back to it"
    _check_the_books(life)


def _check_the_books(life: Life) -> None:
    has_session, opened, state = False, "", State.ASLEEP.value
    for command in life.commands:
        match command:
            case Connect():
                assert not has_session
                has_session = True
            case HangUp() | Abandon() | LineEnded():
                has_session = False
            case Publish(event=events.SessionOpened(conversation_id=conversation_id)):
                assert not opened
                assert state == State.LIVE.value
                opened = conversation_id
            case Publish(event=events.SessionEnded(conversation_id=conversation_id)):
                assert conversation_id == opened
                opened = ""
            case Publish(event=events.StateChanged(before=before, after=after)):
                assert before == state
                state = after
                if state == State.ASLEEP.value:
                    assert not has_session
                    assert not opened
            case _:
                pass
    assert state == life.state.value
    assert {event.trigger for event in life.told(events.StateChanged)} <= {trigger.value for trigger in Trigger}


def test_the_tools_section_decides_whether_a_timer_listens() -> None:
    life = Life(Config(tools=Tools(timer_listens=True)))
    life.take(DEVICE)
    assert not life.lifecycle.deaf


# ------------------------------------------------------------ when to look, and what is told once


def test_the_next_look_is_for_what_is_due_first() -> None:
    life = Life()
    life.take(SPEECH)
    assert life.next_look_s == SLOW_S
    life.look(SLOW_S)
    assert life.told(events.Trouble)[-1].part == "agent"
    connect_s = life.config.session.connect_timeout_s
    assert life.next_look_s == 3 * connect_s + HANGS_AFTER_S - SLOW_S
    life.opens()
    life.facts.next_idle_s = 100.0
    assert life.next_look_s == 100.0
    # A line that is lost again at once is not back yet.
    for _ in range(2):
        life.ends()
        life.look(60.0)
        life.opens()
    assert life.state is State.LIVE
    assert life.next_look_s == STABLE_S
    life.facts.next_idle_s = 0.25
    assert life.next_look_s == 0.25


def test_of_a_slow_connection_nothing_is_told_when_its_reason_was() -> None:
    life = backing_off()
    told = len(life.told(events.Trouble))
    life.look(1.0)
    life.look(SLOW_S)
    assert life.state is State.CONNECTING
    assert len(life.told(events.Trouble)) == told


def test_the_device_wakes_nobody_in_a_session_that_is_open() -> None:
    life = live()
    assert life.take(DEVICE) == []
    assert not life.lifecycle.deaf


def test_a_reload_opens_no_session_that_is_refused() -> None:
    life = Life()
    life.facts.refused_of_its_own = QUIET_HOURS
    life.run(life.lifecycle.reconfigure(config("always"), life.now_s, life.facts))
    assert life.state is State.ASLEEP
    life.facts.refused_of_its_own = None
    life.run(life.lifecycle.reconfigure(config("always"), life.now_s, life.facts))
    assert life.state is State.CONNECTING


def test_in_the_mode_always_what_is_too_old_is_given_up_and_the_line_is_tried_on() -> None:
    life = backing_off(config("always"))
    life.facts.kept_from_s = life.facts.kept_until_s = life.now_s
    life.look(life.config.session.keep_utterance_s + 1)
    assert life.of(GiveUpSpeech)
    assert life.state is not State.ASLEEP
