"""The figures as a file that cannot be written at first. Their names and types: tests/control/test_control_docs.py."""

from __future__ import annotations

import logging
import queue
from pathlib import Path

import pytest
from msgspec.structs import replace

import parleyd
from parleyd.agents.elevenlabs.agent import ElevenLabsAgent
from parleyd.app import prometheus
from parleyd.app.prometheus import Exporter
from parleyd.app.service import Service
from parleyd.app.settings import SettingsReport
from parleyd.audio.devices.null import NullInput, NullOutput
from parleyd.config.schema import Audio, Config, ElevenLabs, Metrics
from parleyd.core import events
from parleyd.core.health import Grade, Trouble
from parleyd.core.log_fields import NOTICE
from parleyd.usage.limits import Usage


def test_a_file_that_cannot_be_written_is_told_once_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prometheus, "EVERY_S", 0.01)
    config = Config(audio=Audio(mode="off"), elevenlabs=ElevenLabs(agent_id="a"))
    agent = ElevenLabsAgent(config.elevenlabs, None)
    service = Service(config, agent, NullInput(), NullOutput(), events.Bus())
    file = tmp_path / "parleyd.prom"
    in_the_way = file.with_name(".parleyd.prom.new")
    in_the_way.mkdir()
    told: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
    handler = logging.Handler()
    handler.emit = told.put  # type: ignore[method-assign, assignment]
    prometheus.log.addHandler(handler)
    prometheus.log.setLevel(NOTICE)
    exporter = Exporter(Metrics(textfile=str(file)), service.status)
    exporter.start()
    try:
        first = told.get(timeout=60)
        in_the_way.rmdir()
        second = told.get(timeout=60)
        assert file.exists()
    finally:
        exporter.stop()
        prometheus.log.removeHandler(handler)
        prometheus.log.setLevel(logging.NOTSET)
    hint = "let the daemon write there (docs/control.md), or name another place; it is tried again"
    assert first.getMessage() == f"metrics.textfile: {file} cannot be written: Is a directory; {hint}"
    assert (second.levelno, second.getMessage()) == (NOTICE, f"metrics.textfile: {file} is written again")
    assert told.empty()
    assert not file.exists()


def test_the_version_and_the_troubles_are_labels() -> None:
    config = Config(audio=Audio(mode="off"), elevenlabs=ElevenLabs(agent_id="a"))
    agent = ElevenLabsAgent(config.elevenlabs, None)
    status = Service(config, agent, NullInput(), NullOutput(), events.Bus()).status()
    troubles = tuple(Trouble(part, Grade.TROUBLE, "gone") for part in ("agent", "agent", "memory"))
    settings = SettingsReport(7, 2, None)
    found = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for metric in prometheus.figures(replace(status, troubles=troubles, settings=settings))
        for sample in metric.samples
    }
    assert found["parleyd_build_info", *sorted((parleyd.__version__, "elevenlabs"))] == 1.0
    assert found["parleyd_settings_revision",] == 7.0
    assert [labels for name, *labels in found if name == "parleyd_trouble"] == [["agent"], ["memory"]]


def test_the_cost_and_the_tokens_are_those_of_the_usage() -> None:
    config = Config(audio=Audio(mode="off"), elevenlabs=ElevenLabs(agent_id="a"))
    agent = ElevenLabsAgent(config.elevenlabs, None)
    status = Service(config, agent, NullInput(), NullOutput(), events.Bus()).status()
    usage: Usage = {
        **status.usage,
        "money_today": 1.25,
        "money_month": 7.5,
        "tokens_today": {"audio_in": 12, "text_out": 3},
    }
    found = {
        (sample.name, *sample.labels.values()): sample.value
        for metric in prometheus.figures(replace(status, usage=usage))
        for sample in metric.samples
    }
    assert (found["parleyd_today_cost",], found["parleyd_month_cost",]) == (1.25, 7.5)
    tokens = {key[1]: value for key, value in found.items() if key[0] == "parleyd_today_tokens"}
    assert tokens == {"audio_in": 12.0, "text_out": 3.0}
