"""The settings of a session of the Realtime protocol. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from parleyd.embedded.realtime.client_messages import Plain, RefusedError
from parleyd.embedded.settings import AgentSettings

_SERVER_VAD: Plain = {
    "threshold": 0.5,
    "prefix_padding_ms": 300,
    "silence_duration_ms": 500,
    "idle_timeout_ms": None,
    "create_response": True,
    "interrupt_response": True,
}
_SEMANTIC_VAD: Plain = {"eagerness": "auto", "create_response": True, "interrupt_response": True}
# The length of the silence that ends a turn, as multiples of agent.end_of_speech_ms: nothing here understands whether a
# sentence is complete.
_EAGERNESS = {"high": 0.75, "medium": 1.0, "auto": 1.0, "low": 2.0}
# How often eight frames must be voiced for speech, at the default threshold of 0.5: five times.
_FRAMES_PER_THRESHOLD = 10


class Session:
    """The effective settings of one session, in the shape of `session.created`."""

    def __init__(self, settings: AgentSettings, session_id: str, model: str | None, ends_at: int) -> None:
        self._settings = settings
        self._dialect = settings.realtime.dialect
        self._model_is_chosen = model is not None
        self._plain: Plain = {
            "type": "realtime",
            "object": "realtime.session",
            "id": session_id,
            "model": model or settings.realtime.models[0],
            "output_modalities": ["audio"],
            "instructions": "",
            "tools": [],
            "tool_choice": "auto",
            "max_output_tokens": "inf",
            "tracing": None,
            "truncation": "auto",
            "prompt": None,
            "include": None,
            "expires_at": ends_at,
            "audio": {
                "input": {
                    "format": {"type": "audio/pcm", "rate": 24000},
                    "transcription": None,
                    "noise_reduction": None,
                    "turn_detection": _detection(self._default_detection()),
                },
                "output": {
                    "format": {"type": "audio/pcm", "rate": 24000},
                    "voice": settings.realtime.voices[0],
                    "speed": 1.0,
                },
            },
        }

    def _default_detection(self) -> Plain | None:
        kind = self._dialect.turn_detection[0]
        return None if kind == "none" else {"type": kind}

    # ---------------------------------------------------------------- reading

    def told(self) -> Plain:
        """The session as the client is told of it."""
        told = dict(self._plain)
        if not self._dialect.expires_at:
            del told["expires_at"]
        if self._dialect.null_formats:
            sides = told["audio"]
            told["audio"] = {
                "input": {**sides["input"], "format": None},
                "output": {**sides["output"], "format": None, "voice": None},
            }
        return told

    @property
    def model(self) -> str:
        return str(self._plain["model"])

    @property
    def instructions(self) -> str:
        return str(self._plain["instructions"])

    @property
    def tools(self) -> list[Plain]:
        return list(self._plain["tools"])

    @property
    def truncates(self) -> bool:
        """Whether the oldest items are left out when there are too many."""
        return bool(self._plain["truncation"] != "disabled")

    @property
    def transcribes(self) -> bool:
        return self._plain["audio"]["input"]["transcription"] is not None

    @property
    def input_format(self) -> str:
        return str(self._plain["audio"]["input"]["format"]["type"])

    @property
    def detection(self) -> Mapping[str, Any] | None:
        """Turn detection with all its values; None: the client ends the turns."""
        found: Mapping[str, Any] | None = self._plain["audio"]["input"]["turn_detection"]
        return found

    @property
    def end_of_speech_ms(self) -> int:
        detection = self.detection or {}
        if detection.get("type") == "server_vad":
            return int(detection["silence_duration_ms"])
        return int(self._settings.end_of_speech_ms * _EAGERNESS[detection.get("eagerness") or "auto"])

    @property
    def pre_roll_ms(self) -> int:
        return int((self.detection or {}).get("prefix_padding_ms", _SERVER_VAD["prefix_padding_ms"]))

    @property
    def onset_frames(self) -> int:
        threshold = float((self.detection or {}).get("threshold", _SERVER_VAD["threshold"]))
        return min(8, max(1, round(threshold * _FRAMES_PER_THRESHOLD)))

    def for_response(self, wish: Plain) -> Plain:
        """The settings of one response. wish: `response` of response.create. Raises RefusedError."""
        output = {**self._plain["audio"]["output"], **(wish.get("audio") or {}).get("output", {})}
        self._check_voice(output["voice"], "response.audio.output.voice")
        if wish.get("reasoning"):
            self._check_reasoning("response.reasoning")
        names = ("output_modalities", "tools", "tool_choice", "max_output_tokens")
        return {**{name: wish.get(name, self._plain[name]) for name in names}, "audio": {"output": output}}

    # ---------------------------------------------------------------- changing

    def update(self, changes: Plain, *, has_spoken: bool) -> None:
        """Changes the session; changes: the checked `session` of a client. has_spoken: the voice is fixed. Raises
        RefusedError, and then nothing has changed."""
        if "model" in changes:
            self._check_model(changes["model"])
        if changes.get("reasoning"):
            self._check_reasoning("session.reasoning")
        if "tracing" in changes and self._plain["tracing"] not in (None, changes["tracing"]):
            text = "The tracing configuration cannot be changed after tracing has been enabled."
            raise RefusedError("invalid_value", text, "session.tracing")
        sides = changes.get("audio", {})
        output = sides.get("output", {})
        if "voice" in output:
            self._check_voice(output["voice"], "session.audio.output.voice")
            if has_spoken and output["voice"] != self._plain["audio"]["output"]["voice"]:
                text = "Cannot update a conversation's voice if assistant audio is present."
                raise RefusedError("cannot_update_voice", text, "session.audio.output.voice")
        before = self._plain["audio"]["input"]
        heard = dict(sides.get("input", {}))
        if "turn_detection" in heard:
            heard["turn_detection"] = self._checked_detection(heard["turn_detection"])
        for name in ("noise_reduction", "transcription"):
            if heard.get(name):
                heard[name] = {**(before[name] or {}), **heard[name]}
        self._model_is_chosen = self._model_is_chosen or "model" in changes
        flat = {name: value for name, value in changes.items() if name not in ("audio", "type")}
        self._plain = {
            **self._plain,
            **flat,
            "audio": {"input": {**before, **heard}, "output": {**self._plain["audio"]["output"], **output}},
        }

    def _check_model(self, model: str) -> None:
        if model not in self._settings.realtime.models:
            text = f"The model `{model}` does not exist or you do not have access to it."
            raise RefusedError("model_not_found", text, "session.model")
        if self._model_is_chosen and model != self.model:
            text = f"The model of a session cannot be changed; it is `{self.model}`."
            raise RefusedError("invalid_value", text, "session.model")

    def _check_reasoning(self, param: str) -> None:
        if not self.model.startswith("gpt-realtime-2") or self.model.startswith("gpt-realtime-2025"):
            text = f"Unsupported parameter: '{param}' is not supported with the model `{self.model}`."
            raise RefusedError("unsupported_parameter", text, param)

    def _check_voice(self, voice: object, param: str) -> None:
        name = voice.get("id") if isinstance(voice, dict) else voice
        if isinstance(voice, str) and voice not in self._settings.realtime.voices:
            known = ", ".join(f"'{one}'" for one in self._settings.realtime.voices)
            raise RefusedError("invalid_value", f"Invalid value: '{name}'. Supported values are: {known}.", param)

    def _checked_detection(self, wish: Plain | None) -> Plain | None:
        kind = "none" if wish is None else wish["type"]
        if kind not in self._dialect.turn_detection:
            known = ", ".join(f"'{one}'" for one in self._dialect.turn_detection)
            param = "session.audio.input.turn_detection.type"
            raise RefusedError("invalid_value", f"Invalid value: '{kind}'. Supported values are: {known}.", param)
        return _detection(wish)


def _detection(wish: Plain | None) -> Plain | None:
    """Turn detection with the defaults for all that is missing or null."""
    if wish is None:
        return None
    defaults = _SERVER_VAD if wish["type"] == "server_vad" else _SEMANTIC_VAD
    return {**defaults, **{name: value for name, value in wish.items() if value is not None}}
