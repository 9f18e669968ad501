"""Pictures of a camera in the daemon: by the agent's tool `look`, and by order; and pictures that wait for a pause.

The camera is a program that writes a picture.
"""

from __future__ import annotations

import base64
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from harness import Daemon
from realtime_plays import QUESTION, STORY, config, daemon, embedded, scripted

from opposite import OppositeAgent
from parleyd.agents.elevenlabs.agent import ElevenLabsAgent
from parleyd.agents.provider import UploadError
from parleyd.config.camera_section import Camera
from parleyd.config.schema import Config, ElevenLabs, Session, Wake
from parleyd.config.tool_sections import CommandTool, Tools
from parleyd.core import events
from parleyd.embedded.server import LocalAgent
from parleyd.tools.asking import Answerer

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
LOOKS = "replies: [{heard: look, say: 'I looked. {result}', tool: {name: look}}]"
BY_HAND = Wake(mode="manual", greeting="skip")


@pytest.fixture
def camera(tmp_path: Path) -> Camera:
    (tmp_path / "a.png").write_bytes(PNG)
    return Camera(command=["cat", str(tmp_path / "a.png")], confirm=False, run_as="daemon")


def images(agent: LocalAgent) -> list[str]:
    """The pictures that came, as their data URLs."""
    items = [item["item"] for record in agent.connections for item in record.events_of("conversation.item.create")]
    parts = [part for item in items for part in item.get("content", ())]
    return [part["image_url"] for part in parts if part["type"] == "input_image"]


@contextmanager
def looking(agent: LocalAgent, camera: Camera, **more: Any) -> Iterator[Daemon]:
    with daemon(config(agent, camera=camera, wake=BY_HAND, **more)) as one:
        yield one


def expect_failed(one: Daemon) -> events.FileFailed:
    return one.expect(events.FileFailed)


def test_the_agent_looks_and_sees_the_picture_behind_the_result(camera: Camera) -> None:
    with embedded(f"agent: {{{LOOKS}}}") as agent, looking(agent, camera) as one:
        one.service.say("Please look.")
        assert (ended := one.expect(events.ToolEnded)).name == "look"
        assert ended.fault is None
        assert one.expect(events.AnswerText).text.startswith("I looked. ")
        [sent] = one.of(events.FileSent)
        assert (sent.upload, sent.name, sent.media_type, sent.size_bytes) == (0, "camera.png", "image/png", len(PNG))
        assert images(agent) == [f"data:image/png;base64,{base64.b64encode(PNG).decode()}"]
        record = agent.wait_connection()
        assert len(record.events_of("response.create")) == 2
        assert record.deviations == []


@pytest.mark.parametrize("allow", [True, False])
def test_a_person_is_asked_first(camera: Camera, allow: bool) -> None:
    asks = Camera(command=camera.command, run_as="daemon")
    with embedded(f"agent: {{{LOOKS}}}") as agent, looking(agent, asks) as one:
        one.service.say("Please look.")
        wanted = one.expect(events.ConfirmationWanted)
        assert wanted.name == "look"
        assert one.service.tools.approve(wanted.approval, allow=allow, who=Answerer(0, 0, "root")) is not None
        assert one.expect(events.ToolEnded).fault == (None if allow else "denied")
        one.expect(events.AnswerText)
        assert len(images(agent)) == allow


def test_a_picture_by_order_wakes_the_daemon_and_has_a_text(camera: Camera) -> None:
    with embedded() as agent, looking(agent, camera) as one:
        number = one.service.look("What is this?")
        sent = one.expect(events.FileSent)
        assert (sent.upload, sent.name) == (number, "camera.png")
        one.expect(events.AnswerEnded)
        [item] = [
            item
            for item in agent.wait_connection().events_of("conversation.item.create")
            if item["item"].get("role") == "user"
        ]
        assert [part["type"] for part in item["item"]["content"]] == ["input_image", "input_text"]


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["sh", "-c", "echo no camera here >&2; exit 1"], "no camera here"),
        (["echo", "hello"], "neither JPEG nor PNG"),
        (["sleep", "100"], "did not finish within 0.5 s"),
        (["/nonexistent/camera"], "does not exist"),
    ],
)
def test_a_camera_that_does_not_work_is_told_to_whoever_wanted_the_picture(command: list[str], words: str) -> None:
    broken = Camera(command=command, timeout_s=0.5, confirm=False, run_as="daemon")
    with embedded(f"agent: {{{LOOKS}}}") as agent, looking(agent, broken) as one:
        number = one.service.look(None)
        failed = expect_failed(one)
        assert (failed.upload, words in failed.text) == (number, True)
        assert failed.hint
        one.service.say("Please look.")
        assert one.expect(events.ToolEnded).fault == "failed"
        assert words in one.expect(events.AnswerText).text
        assert images(agent) == []


def test_a_picture_that_is_refused_leaves_nothing_behind() -> None:
    slow = Camera(command=["sleep", "100"], timeout_s=60.0, confirm=False, run_as="daemon")
    with embedded() as agent, looking(agent, slow) as one:
        one.service.look(None)
        uploads = one.service._uploads
        before = len(uploads._stops)
        for _ in range(3):
            with pytest.raises(UploadError, match="another file is being sent"):
                one.service.look(None)
        assert len(uploads._stops) <= before


def test_mute_covers_the_camera(camera: Camera) -> None:
    with embedded(f"agent: {{{LOOKS}}}") as agent, looking(agent, camera) as one:
        one.service.mute(True)
        with pytest.raises(UploadError, match="muted") as refusal:
            one.service.look(None)
        assert "unmute" in refusal.value.hint
        one.service.say("Please look.")
        assert one.expect(events.ToolEnded).fault == "failed"
        assert "muted" in one.expect(events.AnswerText).text
        one.service.mute(False)
        one.service.look(None)
        one.expect(events.FileSent)


def test_a_picture_that_was_being_taken_when_somebody_muted_is_thrown_away(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(PNG)
    (tmp_path / "go").mkdir()
    os.mkfifo(tmp_path / "wait")
    script = f"cat {tmp_path}/wait >/dev/null; cat {tmp_path}/a.png"
    slow = Camera(command=["sh", "-c", script], timeout_s=30, confirm=False, run_as="daemon")
    with embedded() as agent, looking(agent, slow) as one:
        one.service.look(None)
        # It is open once the camera has begun.
        with (tmp_path / "wait").open("w"):
            one.service.mute(True)
        assert "muted" in expect_failed(one).text
        assert images(agent) == []


def test_without_a_camera_there_is_no_tool() -> None:
    with embedded() as agent, looking(agent, Camera()) as one:
        with pytest.raises(UploadError, match="there is no camera"):
            one.service.look(None)
        assert "look" not in one.service.tools.tools


def test_an_agent_that_takes_no_pictures_is_not_offered_the_tool(camera: Camera) -> None:
    agent = OppositeAgent(9)
    with Daemon(Config(wake=BY_HAND, camera=camera), agent=agent) as one:
        assert "look" not in one.service.tools.tools
        with pytest.raises(UploadError, match="takes no pictures"):
            one.service.look(None)


def test_an_elevenlabs_agent_gets_the_picture_as_a_file_before_the_result(camera: Camera) -> None:
    with embedded(f"agent: {{{LOOKS}}}") as agent:
        section = ElevenLabs(agent_id="a", base_url=agent.base_url, api_key="k")
        settings = Config(elevenlabs=section, camera=camera, wake=BY_HAND, session=Session(idle_timeout_s=60))
        with Daemon(settings, agent=ElevenLabsAgent(section, "k")) as one:
            one.service.say("Please look.")
            sent = one.expect(events.FileSent)
            assert (sent.name, sent.size_bytes) == ("camera.png", len(PNG))
            assert one.expect(events.ToolEnded).fault is None
            assert "camera.png" in one.expect(events.AnswerText).text
            record = agent.wait_connection()
            came = [event.type for event in record.events]
            assert came.index("multimodal_message") < came.index("client_tool_result")
            [result] = record.events_of("client_tool_result")
            assert not result["is_error"]


# ---------------------------------------------------------------- the camera, and other tools, by a reload


def test_tools_that_change_in_a_session_are_told_in_it(camera: Camera) -> None:
    replies = "replies: [{heard: light, say: 'It is {result}', tool: {name: light}}]"
    with embedded(f"agent: {{{replies}}}") as agent:
        settings = config(agent, wake=BY_HAND, tools=Tools(built_in=["get_time"]))
        with daemon(settings) as one:
            one.service.wake()
            one.expect(events.SessionOpened)
            light = CommandTool(description="Switches the light.", run=["echo", "on"], run_as="daemon")
            changed = config(
                agent, wake=BY_HAND, camera=camera, tools=Tools(built_in=["look"], command={"light": light})
            )
            done = one.service.reconfigure(changed, lambda _config: one.service._uploads.agent)
            assert {"tools.built_in", "tools.command", "camera.command"} <= set(done.now)
            assert not done.restart
            one.service.say("Switch the light.")
            assert one.expect(events.ToolEnded).name == "light"
            one.expect(events.AnswerText, lambda event: event.text.startswith("It is on"))
            record = agent.wait_connection()
            first, second = record.events_of("session.update")
            assert [tool["name"] for tool in first["session"]["tools"]] == ["get_time"]
            assert [tool["name"] for tool in second["session"]["tools"]] == ["look", "light"]
            assert second["session"].keys() == {"type", "tools"}
            assert record.deviations == []
            assert len(agent.connections) == 1
            # Nothing has changed: nothing is told.
            one.service.reconfigure(changed, lambda _config: one.service._uploads.agent)
            one.service.say("Switch the light.")
            one.expect(events.ToolEnded)
            assert len(record.events_of("session.update")) == 2


# ---------------------------------------------------------------- a pause


def send(one: Daemon, path: Path, text: str | None) -> None:
    one.service.send_file(os.open(path, os.O_RDONLY), path.name, text)


def test_a_picture_waits_until_the_answer_is_over(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(PNG)
    with embedded("agent: {stream_speed: 1}") as agent, daemon(config(agent, wake=BY_HAND)) as one:
        one.service.say("What can you do?")
        started = one.expect(events.AnswerStarted)
        send(one, tmp_path / "a.png", "What is this?")
        assert one.expect(events.FileWaits).name == "a.png"
        assert images(agent) == []
        ended = one.expect(events.AnswerEnded)
        assert (ended.answer, ended.finished) == (started.answer, True), "it interrupts nobody"
        one.expect(events.FileSent)
        one.expect(events.AnswerEnded, lambda event: event.answer > started.answer)
        assert len(images(agent)) == 1
        assert agent.wait_connection().deviations == []


def test_a_picture_waits_until_the_person_has_spoken(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(PNG)
    spoke = threading.Event()
    with embedded() as agent, daemon(config(agent, wake=Wake(mode="manual", greeting="skip"))) as one:
        one.service.wake()
        one.expect(events.SessionOpened)
        one.say("What is the weather like today?")
        one.expect(events.UtteranceStarted)
        send(one, tmp_path / "a.png", None)
        one.expect(events.FileWaits)
        stopped = one.expect(events.TalkStopped)
        sent = one.expect(events.FileSent)
        assert sent.at_s > stopped.at_s
        assert not spoke.is_set()
        one.expect(events.AnswerEnded)
        assert len(images(agent)) == 1


def test_a_picture_that_waits_when_the_session_ends_has_failed(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(PNG)
    with embedded("agent: {stream_speed: 1}") as agent, daemon(config(agent, wake=BY_HAND)) as one:
        one.service.say(STORY)
        one.expect(events.AnswerStarted)
        send(one, tmp_path / "a.png", None)
        one.expect(events.FileWaits)
        one.service.sleep()
        assert "the session ended" in expect_failed(one).text
        assert images(agent) == []


def test_a_picture_that_waits_is_not_sent_once_the_device_is_muted(camera: Camera) -> None:
    with embedded("agent: {stream_speed: 1}") as agent, looking(agent, camera) as one:
        one.service.say(STORY)
        one.expect(events.AnswerStarted)
        one.service.look(None)
        one.expect(events.FileWaits)
        one.service.mute(True)
        assert "muted" in expect_failed(one).text
        assert images(agent) == []
        # Not only after the disk has the switch, which may take half a second.
        order = [type(event) for event in one.stage.events if isinstance(event, events.FileFailed | events.Muted)]
        assert order == [events.FileFailed, events.Muted]


def test_the_line_may_be_lost_while_a_picture_is_taken(camera: Camera) -> None:
    with embedded(scripted("on: ready, do: drop")) as agent, looking(agent, camera) as one:
        one.service.look(QUESTION)
        # Sent in the next session, or told as failed: never silence.
        outcome = one.expect(events.Event, lambda event: isinstance(event, events.FileSent | events.FileFailed))
        assert outcome
