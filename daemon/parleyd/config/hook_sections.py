"""The keys under `hooks:`. schema.py explains the conventions, docs/hooks.md explains hooks."""

# ruff: noqa: RUF012 (msgspec copies mutable defaults)
from typing import Annotated, Literal

from msgspec import Meta

from parleyd.config.base import RunAs, Section, Text
from parleyd.config.secrets import masked

# The supervisor's states, the events of a conversation, and the daemon's own start and end.
HookName = Literal[
    "asleep",
    "connecting",
    "live",
    "backing_off",
    "started",
    "stopped",
    "woken",
    "utterance_started",
    "utterance_ended",
    "heard",
    "answer_started",
    "answer_text",
    "answer_ended",
    "barged_in",
    "announcement_started",
    "announcement_ended",
    "muted",
    "unmuted",
    "volume_changed",
    "profile_changed",
    "tool_called",
    "tool_ended",
    "approval_wanted",
    "confirmation_wanted",
    "timer_went_off",
    "wake_refused",
    "budget_near",
    "budget_spent",
    "fallback_began",
    "fallback_over",
    "device_lost",
    "device_back",
    "trouble",
]


class Hook(Section, frozen=True):
    """A command that is run when something happens: docs/hooks.md."""

    on: Annotated[list[HookName], Meta(description="the states and events at which it is run")]
    command: Annotated[
        list[Text],
        Meta(description="the program and its arguments, passed unchanged; it gets the event on its standard input"),
    ]
    # In a shorter time than the least no program starts on a small board.
    timeout_s: Annotated[
        float,
        Meta(
            ge=0.1,
            le=300,
            description="the longest duration; then the command is killed, with all processes that it started",
        ),
    ] = 5.0
    environment: Annotated[
        dict[str, str],
        Meta(
            description="additional environment variables; otherwise it gets only PATH, HOME, LANG, TZ and PARLEYD_..."
        ),
    ] = {}
    run_as: RunAs = "apart"

    def __repr__(self) -> str:
        return f"Hook({masked(self)})"
