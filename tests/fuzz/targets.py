"""What is fuzzed: each target takes any bytes, and raises AssertionError where a promise is broken.

Whatever a server, a program at the control socket, an agent's parameters, a WAV file or a configuration holds, the
reader either understands it or refuses it by the exception that it promises, within the bounds that it states.
"""

from __future__ import annotations

import io
import json
import unicodedata
import wave
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import unquote

from parleyd.agents import events as common
from parleyd.agents.elevenlabs.codec import ElevenLabsCodec
from parleyd.agents.provider import SessionWish
from parleyd.audio.devices.device import DeviceError
from parleyd.audio.devices.wav import read_header, to_mono
from parleyd.checks.configuration import ConfigError, Problem, parse
from parleyd.config.loader import MAX_BYTES
from parleyd.config.schema import ElevenLabs
from parleyd.control import messages
from parleyd.tools import template
from parleyd.tools.result import ToolError

Target = Callable[[bytes], None]

_READY = json.dumps(
    {
        "type": "conversation_initiation_metadata",
        "conversation_initiation_metadata_event": {
            "conversation_id": "c",
            "agent_output_audio_format": "pcm_16000",
            "user_input_audio_format": "pcm_16000",
        },
    }
)
_ALIVE = json.dumps({"type": "vad_score", "vad_score_event": {"vad_score": 0.5}})
# Beyond this the file would be refused for its size before anybody reads it.
_MOST_YAML_BYTES = 4096


def codec(data: bytes) -> None:
    """A provider's messages, several to a session, one per line."""
    session = ElevenLabsCodec(ElevenLabs(agent_id="a"), SessionWish())
    session.receive(_READY, 0.0)
    for line in data.split(b"\n")[:20]:
        received = session.receive(line, 0.0)
        for event in received.events:
            if isinstance(event, common.AgentAudio):
                # Half a sample may be at its end: playback puts the halves together.
                assert event.data
        for reply in received.replies:
            json.loads(reply)
    events = session.receive(_ALIVE, 0.0).events
    assert len(events) == 1
    assert isinstance(events[0], common.Notice)


def control(data: bytes) -> None:
    """A program's requests to the running daemon."""
    for line in data.split(b"\n")[:20]:
        try:
            messages.request(line)
        except messages.RequestError as error:
            told = json.loads(messages.refusal(error))
            assert told["ok"] is False
            assert told["error"]["kind"]


def templates(data: bytes) -> None:
    """A tool's template and an agent's value: the value stays within the place that it was given."""
    text, _, value = data.decode("utf-8", "replace").partition("\n")
    try:
        parsed = template.parse(text)
    except template.TemplateError:
        return
    values = {one.name: value for one in template.placeholders(parsed)}
    try:
        (argument, *more) = template.arguments([parsed], values, ()) or [""]
        assert not more
        assert "\0" not in argument
        # An empty value begins nothing: then the template's own text does, and may be an option.
        if value and parsed and isinstance(parsed[0], template.Placeholder):
            assert not template.looks_like_option(argument)
    except ToolError:
        pass
    try:
        address = template.url(template.parse("https://example.org/a/{x}/b?q={x}#{x}"), {"x": value})
    except ToolError:
        return
    path, _, rest = address.removeprefix("https://example.org/a/").partition("/b?q=")
    assert rest
    assert not set(path) & set("/?#"), address
    assert path not in (".", "..")
    _same_path_for_every_reader(path)
    assert address.isascii()
    assert address.isprintable()
    assert " " not in address


def _same_path_for_every_reader(segment: str) -> None:
    """However often it is decoded, with look-alikes folded or not, it is one segment and no step upwards."""
    for fold in (str, lambda text: unicodedata.normalize("NFKC", text)):
        read, before = segment, ""
        while read != before:
            before, read = read, fold(unquote(read))
            assert not set(read) & set("/\\?#\0\n\u2215\u2044"), (segment, read)
            assert read.strip(" .\u200b"), (segment, read)


def wav(data: bytes) -> None:
    """A file that stands in for the microphone, or an earcon."""
    file = io.BytesIO(data)
    try:
        header = read_header(file, Path("fuzzed.wav"))
    except DeviceError as error:
        _has_hint(error.hint)
        return
    assert 0 <= header.data_offset <= len(data)
    assert header.block_bytes > 0
    file.seek(header.data_offset)
    sound = file.read(min(header.data_bytes, 4096))
    sound = sound[: len(sound) - len(sound) % header.block_bytes]
    if sound:
        assert len(to_mono(header, sound)) == 2 * (len(sound) // header.block_bytes)


def yaml(data: bytes) -> None:
    """A configuration file: understood, or refused with a place and a hint for each problem."""
    try:
        text = data[:_MOST_YAML_BYTES].decode("utf-8")
    except UnicodeDecodeError:
        return
    assert _MOST_YAML_BYTES <= MAX_BYTES
    try:
        parse(text, "fuzzed.yaml")
    except ConfigError as error:
        _say_what_to_do(error.problems)


def _say_what_to_do(problems: Sequence[Problem]) -> None:
    assert problems
    for problem in problems:
        _has_hint(problem.hint)
        assert "\n" not in str(problem)


def _has_hint(hint: str) -> None:
    assert hint


TARGETS: dict[str, Target] = {"codec": codec, "control": control, "templates": templates, "wav": wav, "yaml": yaml}


def _wav_file(rate_hz: int, channels: int, width: int) -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setparams((channels, width, rate_hz, 0, "NONE", ""))
        file.writeframes(bytes(channels * width * 40))
    return out.getvalue()


def seeds(name: str) -> list[bytes]:
    """Inputs to begin from: one of each kind that is understood."""
    root = Path(__file__).parents[2]
    match name:
        case "codec":
            from elevenlabs_samples import from_server

            return [json.dumps(from_server(kind)).encode() for kind in _codec_kinds()]
        case "control":
            return [json.dumps({"do": one, "id": 1, "text": "x"}).encode() for one in messages.NAMES]
        case "templates":
            return [
                b"{x}\nvalue",
                b"--a={x...}\n-",
                b"{{{x}}}\n../..",
                b"{secret:A}{b}\n\xe2\x80\x93x",
                b"{x}\n%252e%2e%2fa",
            ]
        case "wav":
            return [_wav_file(rate, channels, width) for rate, channels, width in ((16_000, 1, 2), (48_000, 6, 3))]
        case _:
            files = [*root.glob("config/*.yaml"), *root.glob("docs/*.md")]
            return [path.read_bytes()[:_MOST_YAML_BYTES] for path in files] + [
                b"audio: off\n",
                b"{}\n",
                b"a: &a [*a]\n",
            ]


def _codec_kinds() -> list[str]:
    from elevenlabs_samples import FROM_SERVER

    return list(FROM_SERVER)
