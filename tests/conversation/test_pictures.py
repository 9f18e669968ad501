"""Pictures wait for a pause, and tools that change in a session are told: by hand, with a provider that has ids."""

from __future__ import annotations

import logging

from test_conversation_with_ids import OppositeScene

from parleyd.agents.commands import Offer, Prepared, Say, ToolDone
from parleyd.agents.events import NotTaken, ToolCall
from parleyd.agents.provider import ToolSpec
from parleyd.conversation.dialogue.commands import Log, UseTool
from parleyd.conversation.dialogue.conversation import MOST_TOLD
from parleyd.conversation.dialogue.pictures import MOST_PICTURES, MOST_PICTURES_BYTES, PICTURE_WAITS_S
from parleyd.core import events
from parleyd.core.faults import Fault
from parleyd.tools.result import Result

PICTURE = Prepared("a.png", "image/png", data=b"\x89PNG", size_bytes=4)


def show(scene: OppositeScene, file: Prepared = PICTURE, upload: int = 1, *, of_camera: bool = False) -> bool:
    sent = events.FileSent(
        at_s=scene.now_s, upload=upload, name=file.name, media_type=file.media_type, size_bytes=file.size_bytes
    )
    there = scene.conversation.send_file(file, None, sent, scene.now_s, of_camera=of_camera)
    scene._do()
    return there


def look(scene: OppositeScene) -> None:
    scene.conversation.look(scene.now_s)
    scene._do()


def sent(scene: OppositeScene) -> list[events.FileSent]:
    return [event for event in scene.published() if isinstance(event, events.FileSent)]


def failed(scene: OppositeScene) -> list[str]:
    return [event.text for event in scene.published() if isinstance(event, events.FileFailed)]


def waits(scene: OppositeScene) -> int:
    return sum(isinstance(event, events.FileWaits) for event in scene.published())


def photographs(scene: OppositeScene, call_id: str = "call_1", picture: Prepared = PICTURE) -> None:
    """The agent's tool has taken a picture."""
    scene.happens(ToolCall("light", call_id, {}, True))
    assert any(isinstance(use, UseTool) for use in scene.of(UseTool))
    assert scene.conversation.tool_worked(scene.channel, call_id, "k", Result("Here.", None, picture), scene.now_s)
    scene._do()


def test_in_a_pause_a_picture_goes_at_once() -> None:
    scene = OppositeScene()
    assert show(scene)
    assert len(sent(scene)) == 1
    assert len(scene.given(Say)) == 1
    assert not waits(scene)
    assert scene.conversation.next_look_s is not None
    look(scene)
    assert scene.conversation.next_look_s is None


def test_while_somebody_speaks_it_waits() -> None:
    scene = OppositeScene()
    scene.talk()
    show(scene)
    assert (len(sent(scene)), waits(scene)) == (0, 1)
    look(scene)
    assert not sent(scene)
    scene.hush()
    scene.now_s += PICTURE_WAITS_S
    look(scene)
    assert len(sent(scene)) == 1


def test_it_does_not_wait_for_ever() -> None:
    scene = OppositeScene()
    scene.talk()
    show(scene)
    scene.now_s += PICTURE_WAITS_S
    look(scene)
    assert len(sent(scene)) == 1, "somebody still speaks"


def test_only_a_few_wait() -> None:
    scene = OppositeScene()
    scene.talk()
    for upload in range(MOST_PICTURES + 1):
        show(scene, upload=upload)
    assert failed(scene) == [f"{MOST_PICTURES} pictures wait for a pause already"]


def test_the_pictures_of_tools_are_bounded_by_their_size() -> None:
    """While a person talks the agent may call the camera again and again."""
    scene = OppositeScene()
    large = Prepared("a.png", "image/png", data=b"\x89PNG", size_bytes=MOST_PICTURES_BYTES // 4)
    scene.talk()
    for number in range(6):
        photographs(scene, f"call_{number}", large)
    refused = [one for one in scene.given(ToolDone) if isinstance(one, ToolDone)]
    assert [(one.call_id, one.fault, one.attachments) for one in refused] == [
        ("call_4", Fault.FAILED, ()),
        ("call_5", Fault.FAILED, ()),
    ]
    assert refused[0].text == "There is no picture: 16.0 MiB of pictures wait for a pause, and 16 MiB may."
    show(scene)
    assert failed(scene) == [f"{MOST_PICTURES} pictures wait for a pause already"]
    scene.hush()
    for _ in range(4):
        scene.now_s += PICTURE_WAITS_S
        look(scene)
    given = [one.call_id for one in scene.given(ToolDone) if isinstance(one, ToolDone) and one.attachments]
    assert given == ["call_0", "call_1", "call_2", "call_3"]


def test_a_persons_picture_finds_no_room_beside_the_large_ones_of_tools() -> None:
    scene = OppositeScene()
    scene.talk()
    for number in range(2):
        photographs(scene, f"call_{number}", Prepared("a.png", "image/png", size_bytes=MOST_PICTURES_BYTES // 2))
    show(scene)
    assert failed(scene) == ["16.0 MiB of pictures wait for a pause, and 16 MiB may"]


def test_mute_covers_the_pictures_of_the_camera_that_wait() -> None:
    scene = OppositeScene()
    scene.talk()
    show(scene, of_camera=True)
    show(scene, upload=2)
    photographs(scene)
    scene.conversation.mute(True, scene.now_s)
    scene._do()
    assert failed(scene) == ["this device was muted before the picture could go"]
    (done,) = scene.given(ToolDone)
    assert isinstance(done, ToolDone)
    assert (done.fault, done.attachments) == (Fault.FAILED, ())
    scene.hush()
    scene.now_s += PICTURE_WAITS_S
    look(scene)
    assert [one.upload for one in sent(scene)] == [2], "a person's own file is no picture of the camera"


def test_a_picture_that_is_taken_while_it_is_being_muted_does_not_go() -> None:
    scene = OppositeScene()
    scene.talk()
    scene.conversation.mute(True, scene.now_s)
    photographs(scene)
    (done,) = scene.given(ToolDone)
    assert isinstance(done, ToolDone)
    assert (done.fault, done.attachments) == (Fault.FAILED, ())
    scene.conversation.mute(False, scene.now_s)
    scene.hush()
    assert not sent(scene)


def test_the_picture_of_a_tool_only_waits_for_the_person() -> None:
    scene = OppositeScene()
    scene.answers("r1", "I look.", seconds=3.0)
    photographs(scene)
    (done,) = scene.given(ToolDone)
    assert isinstance(done, ToolDone)
    assert done.attachments == (PICTURE,)
    assert len(sent(scene)) == 1


def test_a_session_that_is_over_gets_no_picture() -> None:
    scene = OppositeScene()
    scene.happens(ToolCall("light", "call_1", {}, True))
    scene.lose()
    result = Result("Here.", None, PICTURE)
    assert not scene.conversation.tool_worked(scene.channel, "call_1", "k", result, scene.now_s)
    assert not show(scene)


def test_a_file_that_is_on_the_server_already_does_not_wait() -> None:
    scene = OppositeScene()
    scene.talk()
    assert show(scene, Prepared("a.png", "image/png", reference="file_1"))
    assert len(sent(scene)) == 1


def test_changed_tools_are_offered_once_and_only_in_a_session() -> None:
    scene, tools = OppositeScene(), (ToolSpec("lamp", "Switches it.", {}, 1.0),)
    for _ in range(2):
        scene.conversation.offer({"lamp"}, tools)
        scene._do()
    assert scene.given(Offer) == [Offer(tools)]
    scene.lose()
    scene.conversation.offer(set(), ())
    scene._do()
    assert len(scene.given(Offer)) == 1


def test_what_the_server_did_not_take_is_told_once() -> None:
    scene = OppositeScene()
    for number in (0, 0, *range(1, MOST_TOLD + 5)):
        scene.happens(NotTaken("openai.voice", "marin", f"voice {number}"))
    warnings = [one for one in scene.of(Log) if isinstance(one, Log) and one.level == logging.WARNING]
    assert len(warnings) == MOST_TOLD
