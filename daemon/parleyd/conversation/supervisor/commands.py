"""The supervisor's messages and commands, and the facts that it has to know. Pure.

See lifecycle.py, which takes the messages, asks for the facts and gives the commands.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from msgspec import Struct

from parleyd.conversation.dialogue.commands import Log, Publish
from parleyd.conversation.dialogue.idle import IdleEnd, Patience
from parleyd.usage.allowance import Refusal


class Wake(Struct, frozen=True):
    """standing: the mode `always` wants it, nobody asked. anyway: in spite of a budget. by_device: a timer has gone
    off, and the agent is to tell of it."""

    by_speech: bool
    standing: bool = False
    anyway: bool = False
    by_device: bool = False

    @property
    def of_its_own(self) -> bool:
        """Not by a command."""
        return self.by_speech or self.standing or self.by_device


class Sleep(Struct, frozen=True):
    """Somebody wants no session, by command."""


class Connect(Struct, frozen=True):
    """Open a session. suppress_greeting: ask the agent not to speak first. to_fallback: with the fallback, instead of
    the agent."""

    suppress_greeting: bool
    to_fallback: bool = False


class StartFallback(Struct, frozen=True):
    """Start the process of the fallback, for it may be needed soon."""


class StopFallback(Struct, frozen=True):
    """End the process of the fallback: nobody needs it now."""


class Probe(Struct, frozen=True):
    """Find out, without a session, whether the agent's server answers again."""


class HangUp(Struct, frozen=True):
    """End the session, properly; nothing more is heard of it."""


class Abandon(Struct, frozen=True):
    """End a session whose threads have died or hang; nothing more is heard of it."""


class LineEnded(Struct, frozen=True):
    """Nobody is there to be told anything."""


class Conclude(Struct, frozen=True):
    """The conversation is over. decided_s: what is typed since then is for the next one. keep_history: unless it goes
    on in another session."""

    decided_s: float
    keep_history: bool


class GiveUpSpeech(Struct, frozen=True):
    """Speech from before before_s, or utterances that were over by then. was_heard_out: the agent has had its time for
    all that was sent. is_told: it is told as lost."""

    before_s: float
    cause: str
    is_whole_utterances: bool = False
    was_heard_out: bool = False
    is_told: bool = True


class ForgetSpeech(Struct, frozen=True):
    """Speech from before before_s, which is for nobody."""

    before_s: float


class GiveUpTyped(Struct, frozen=True):
    """Give up the texts that were typed before before_s."""

    before_s: float
    cause: str


class PersonWakes(Struct, frozen=True):
    """Somebody wakes the agent, in a session that the device has opened."""


class WokenForNothing(Struct, frozen=True):
    """The gate took something for speech that was none."""


class WakeAgain(Struct, frozen=True):
    """This wake is to be taken as a message of its own, after all that waits."""

    wake: Wake


class Refuse(Struct, frozen=True):
    """Tell that there is no session now."""

    refusal: Refusal
    of_its_own: bool


Command = (
    Connect
    | StartFallback
    | StopFallback
    | Probe
    | HangUp
    | Abandon
    | LineEnded
    | Conclude
    | GiveUpSpeech
    | ForgetSpeech
    | GiveUpTyped
    | PersonWakes
    | WokenForNothing
    | WakeAgain
    | Refuse
    | Publish
    | Log
)
Commands = Iterator[Command]


class Facts(Protocol):
    """The rest of the daemon, asked at the moment of a decision; each answers at once."""

    @property
    def kept_until_s(self) -> float | None:
        """The time of the newest speech that no agent has heard; None: there is none."""

    @property
    def kept_from_s(self) -> float | None:
        """When the oldest utterance was over that no agent has heard."""

    @property
    def kept_ms(self) -> int:
        """How much speech no agent has heard."""

    @property
    def typed_s(self) -> float | None:
        """When the newest of what was typed was typed that no agent has answered."""

    @property
    def only_device_typed(self) -> bool:
        """All that waits to be answered is the device's own message."""

    @property
    def talk_since_s(self) -> float | None:
        """When the person's current stretch of talk began; None while they are silent."""

    @property
    def continues(self) -> bool:
        """There is something said that a new session should know."""

    @property
    def understood(self) -> bool:
        """The agent has shown, in this conversation, that it made words of what it heard."""

    @property
    def agent_hangs_up(self) -> bool:
        """The agent has said just now that it will end this session."""

    @property
    def farewell_s(self) -> float | None:
        """After so much quiet the conversation shall end, because the agent wanted it; None: it did not."""

    def quiet_s(self, now_s: float) -> float:
        """How long nobody has done anything; 0 while somebody is at it."""

    def between_turns(self, now_s: float) -> bool:
        """Nobody talks, nobody owes an answer, and that has been so for a moment."""

    def no_longer_needed(self, now_s: float, patience: Patience) -> IdleEnd | None:
        """See Idle.due."""

    def next_idle_look_s(self, now_s: float, patience: Patience) -> float:
        """See Idle.next_look_s."""

    def is_asked_again(self, now_s: float) -> bool:
        """The agent has closed the session properly: whether something was said just before. See Uplink.closed."""

    def refusal(self, *, of_its_own: bool) -> Refusal | None:
        """Why budgets or quiet hours allow no session now."""

    def budget_spent(self) -> Refusal | None:
        """Whether a budget has come to its end."""

    def next_budget_look_s(self, now_s: float) -> float:
        """When budget_spent() may have another answer."""
