"""The steps in their order. Each one writes when it is complete, so an interruption loses only the step that it
interrupts."""

from __future__ import annotations

from collections.abc import Sequence

from parleyd.core.errors import UserError
from parleyd.setup import agent_step, audio_step, provider_step, service_step, try_step, voice_step
from parleyd.setup.dialog import EndOfInputError, Option, SkippedError
from parleyd.setup.state import Setup, Step
from parleyd.setup.try_step import daemon_runs

STEPS = (
    Step("audio", "Microphone and speaker", audio_step.run),
    Step("provider", "Who answers, and the key", provider_step.run),
    Step("agent", "The agent", agent_step.run),
    Step("voice", "Language and voice", voice_step.run),
    Step("service", "The service", service_step.run),
    Step("try", "A first question", try_step.run),
)
NAMES = tuple(step.name for step in STEPS)
_AGAIN, _SKIP, _STOP = "again", "skip", "stop"
_WHAT_NOW = (
    Option(_AGAIN, "try this step again"),
    Option(_SKIP, "leave it out"),
    Option(_STOP, "stop here"),
)


def run(setup: Setup, names: Sequence[str]) -> bool:
    """names: of the steps to run; none: all. Returns whether all of them were completed. Raises EndOfInputError, and
    without a person also the UserError of a step."""
    steps = [step for step in STEPS if not names or step.name in names]
    page, done, is_whole = setup.page, [], True
    if setup.dialog.is_person:
        page.say(
            "Enter takes what is proposed, skip leaves a step out, Ctrl-C stops. Each step writes when it is complete; "
            "what was written stays."
        )
    for number, step in enumerate(steps, 1):
        page.head(f"{number}/{len(steps)}  {step.title}" if len(steps) > 1 else step.title)
        outcome = _run(setup, step)
        if outcome is None:
            is_whole = False
            break
        done.append((step.name, outcome))
        is_whole = is_whole and outcome != _SKIP
    _summary(setup, done, [step.name for step in steps], is_whole=is_whole)
    return is_whole


def _run(setup: Setup, step: Step) -> str | None:
    """Runs a step. Returns its outcome in words, _SKIP if it was left out; None if the person stops."""
    while True:
        try:
            return step.run(setup)
        except SkippedError:
            setup.page.say("Left out; nothing was changed.")
            return _SKIP
        except EndOfInputError:
            raise
        except UserError as error:
            if not setup.dialog.is_person:
                raise
            setup.page.problem(str(error), error.hint)
        try:
            choice = setup.dialog.choose("next", "What now?", _WHAT_NOW, _AGAIN)
        except SkippedError:
            choice = _SKIP
        if choice == _STOP:
            return None
        if choice == _SKIP:
            return _SKIP


def _summary(setup: Setup, done: Sequence[tuple[str, str]], names: Sequence[str], *, is_whole: bool) -> None:
    """names: of the steps that were asked for."""
    page = setup.page
    if len(done) > 1:
        page.head("What came of it")
        for name, outcome in done:
            page.say("left out" if outcome == _SKIP else outcome, lead=f"  {name:<9} ")
    page.say()
    missing = next((name for name, outcome in done if outcome == _SKIP), None)
    if setup.next is None and setup.has_written and "service" not in dict(done) and daemon_runs():
        # It says itself which of the new values wait for a new start.
        setup.next = "parleyd reload"
    if setup.next is not None:
        page.say("Next:")
        page.command(setup.next)
    elif missing is not None or not is_whole:
        page.say("Next:")
        page.command(f"parleyd setup {missing or names[len(done)]}")
    elif len(done) == len(STEPS):
        page.say("Next: talk to it. parleyd status shows what it does, and parleyd doctor finds what is wrong.")
    else:
        page.say("Done. parleyd setup runs all steps.")
