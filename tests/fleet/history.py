"""A day of a few invented devices, in the figures that the daemon really exports, as a file of OpenMetrics."""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from msgspec import Struct
from msgspec.structs import replace

import parleyd
from parleyd.agents.elevenlabs.agent import ElevenLabsAgent
from parleyd.app import prometheus
from parleyd.app.metrics import Metrics
from parleyd.app.service import Service
from parleyd.app.settings import SettingsReport
from parleyd.app.status import StatusReport
from parleyd.audio.devices.null import NullInput, NullOutput
from parleyd.config.schema import Config, ElevenLabs
from parleyd.core import events
from parleyd.core.health import Grade, Trouble

END_S = int(datetime(2026, 11, 29, 18, tzinfo=UTC).timestamp())
# A day is shown, whose first rates want an hour before it.
HOURS = 26
# Prometheus asks once a minute unless it is told otherwise.
EVERY_S = 60
EARLIER = "0.0.9"
DAY_S = 86400


class Home(Struct, frozen=True):
    """All hours are before END_S. updated_h: when it got the present version; None: not yet. away_h: between which two
    it was switched off. trouble: a part, and the hours. muted_h: since when it has been muted."""

    name: str
    provider: str
    memory_mb: int
    sound_ms: int
    revision: int
    updated_h: float | None = None
    away_h: tuple[float, float] | None = None
    trouble: tuple[str, float, float] | None = None
    muted_h: float | None = None


HOMES = (
    Home("ward-1", "elevenlabs", 74, 800, 4, updated_h=9.0),
    Home("ward-2", "elevenlabs", 78, 950, 4, updated_h=7.5, trouble=("agent", 6.0, 4.5)),
    Home("ward-3", "elevenlabs", 71, 850, 4, updated_h=7.4, muted_h=2.0),
    Home("kiosk", "openai", 82, 700, 2, updated_h=7.3, trouble=("microphone", 1.2, -1.0)),
    Home("hall", "openai", 80, 750, 2, away_h=(16.0, 13.0), trouble=("agent", 0.9, 0.2)),
    Home("shed", "local", 412, 1500, 0, updated_h=7.2, trouble=("speaker", 20.0, 18.5)),
)


def base() -> StatusReport:
    """The status of a real daemon that has just begun."""
    config = Config(elevenlabs=ElevenLabs(agent_id="a"))
    agent = ElevenLabsAgent(config.elevenlabs, None)
    return Service(config, agent, NullInput(), NullOutput(), events.Bus()).status()


def statuses(home: Home, began: StatusReport) -> Iterator[tuple[int, StatusReport]]:
    """The home's status at each minute that it is there."""
    dice = random.Random(home.name)
    microphone, speaker = began.microphone, began.speaker
    assert microphone is not None
    assert speaker is not None
    started_s = END_S - 40 * 3600
    counted, underruns, overflows, today_s = Metrics(), 0, 0, 0.0
    for now_s in range(END_S - HOURS * 3600, END_S + 1, EVERY_S):
        before_end_h = (END_S - now_s) / 3600
        if now_s % DAY_S == 0:
            today_s = 0.0
        updated = home.updated_h is not None and before_end_h <= home.updated_h
        back_s = END_S - 3600 * home.away_h[1] if home.away_h else 0
        if (home.updated_h is not None and before_end_h == home.updated_h) or now_s == back_s:
            started_s = now_s
            counted, underruns, overflows = Metrics(), 0, 0
        if home.away_h and home.away_h[1] < before_end_h <= home.away_h[0]:
            continue
        troubled = home.trouble is not None and home.trouble[2] <= before_end_h <= home.trouble[1]
        muted = home.muted_h is not None and before_end_h <= home.muted_h
        # People talk by day, most of all in the morning and in the evening.
        hour = now_s % DAY_S / 3600
        talks = dice.random() < 0.11 * max(0.0, math.sin((hour - 6) / 17 * math.pi)) * (1.4 if 16 < hour < 20 else 1)
        if talks and troubled:
            counted.failed_tries += 2
            counted.lost_speech_ms += dice.randrange(600, 2500)
        elif talks and not muted:
            counted.sessions += 1
            counted.wake_to_live.add(dice.lognormvariate(math.log(420), 0.35))
            for _ in range(dice.randrange(1, 6)):
                counted.speech_to_sound.add(dice.lognormvariate(math.log(home.sound_ms), 0.3))
            length_s = dice.uniform(20, 90)
            counted.session_s += length_s
            today_s += length_s
            counted.lost_speech_ms += 300 if dice.random() < 0.04 else 0
            underruns += dice.random() < 0.08
            overflows += dice.random() < 0.04
        yield now_s, replace(
            began,
            version=parleyd.__version__ if updated else EARLIER,
            provider=home.provider,
            uptime_s=float(now_s - started_s),
            health=(Grade.TROUBLE if troubled else Grade.WELL).value,
            troubles=(Trouble(home.trouble[0], Grade.TROUBLE, "gone"),) if home.trouble and troubled else (),
            state="live" if talks and not troubled and not muted else "asleep",
            microphone=replace(microphone, muted=muted, overflows=overflows),
            speaker=replace(speaker, underruns=underruns),
            load=replace(began.load, memory_bytes=int((home.memory_mb + 3 * math.sin(now_s / 9000)) * 2**20)),
            metrics=counted,
            usage={
                **began.usage, "session_minutes_today": today_s / 60,
                "money_today": 0.0 if home.provider == "local" else today_s / 60 * 0.08,
            },
            settings=SettingsReport(home.revision, 0, None),
        )  # fmt: skip


def openmetrics(wanted: Iterable[str]) -> Iterator[str]:
    """The lines of the file. wanted: names, as they stand in expressions; other figures are left out, because all of
    them would be half a million lines."""
    named = " ".join(wanted)
    lines: dict[tuple[str, str], list[str]] = defaultdict(list)
    began = base()
    for home in HOMES:
        for now_s, status in statuses(home, began):
            for family in prometheus.figures(status):
                if family.name not in named:
                    continue
                into = lines[family.name, family.type]
                for sample in family.samples:
                    labels = {"instance": home.name, "job": "parleyd", **sample.labels}
                    text = ",".join(f'{name}="{value}"' for name, value in labels.items())
                    into.append(f"{sample.name}{{{text}}} {sample.value!r} {now_s}")
    for (name, kind), samples in lines.items():
        yield f"# TYPE {name} {kind}"
        yield from samples
    yield "# EOF"
