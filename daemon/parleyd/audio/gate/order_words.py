"""Recognises a few spoken orders on the device itself: "stop", "louder", "repeat that". English alone.

A grammar takes any sound for one of its sentences. Two things keep other words out: the grammar knows many sentences
that are no orders, and a sentence that is recognised with a low score is none. Pocketsphinx scores each frame against
the best of all its sound models. benchmarks/spoken_orders.py tells how many orders are heard, and what else is taken
for one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from parleyd.audio.pcm import PIPELINE_RATE_HZ
from parleyd.core.errors import UserError
from parleyd.host import python_env

Order = Literal["stop", "louder", "quieter", "repeat"]

ORDERS: dict[str, Order] = {
    "stop": "stop",
    "stop it": "stop",
    "stop talking": "stop",
    "be quiet": "stop",
    "louder": "louder",
    "quieter": "quieter",
    "softer": "quieter",
    "repeat": "repeat",
    "repeat that": "repeat",
    "say that again": "repeat",
}
# Sentences that sound like an order, and what people often say while an agent speaks.
_OTHERS = (
    "yes", "no", "okay", "really", "hello", "hi", "thanks", "thank you", "water", "later", "better", "slower", "faster",
    "quite", "mum", "mother", "top", "hot", "shop", "what", "where", "when", "who", "why", "how", "good", "great",
    "right", "well", "now", "today", "tomorrow", "music", "weather", "brother", "sister", "i stopped it", "i stopped",
    "it stopped", "do not stop", "what time is it", "where is it", "go on", "tell me more", "that is great",
    "not again", "i think so", "say hello", "come here", "dinner is ready", "repeat after me",
    "repeat the question",
)  # fmt: skip
# A wish about something else begins as an order does. More things here make the recogniser miss orders in noise.
_THINGS = ("music", "radio", "television", "timer", "alarm", "video")
_GRAMMAR = f"""#JSGF V1.0;
grammar orders;
<order> = {" | ".join(ORDERS)};
<other> = {" | ".join(_OTHERS)};
<wish> = stop the ({" | ".join(_THINGS)});
public <said> = [please] <order> [please] | <other> | <wish>;
"""
# The least score of a whole sentence, and of each of its words. A wrong stop costs little: it ends an answer over which
# somebody talks anyway.
LEAST: dict[Order, tuple[float, float]] = {
    "stop": (-5.0, -5.5),
    "louder": (-3.5, -4.5),
    "quieter": (-3.5, -4.5),
    "repeat": (-3.5, -4.5),
}
_UNDERFLOW_LOG = math.log(5e-324)
# The decoder wants a little silence around the words.
_PADDING = bytes(PIPELINE_RATE_HZ * 2 * 150 // 1000)


class OrderWords:
    """Not thread-safe; heard() takes some 30 ms for a second of sound on a PC. Raises UserError without its package."""

    def __init__(self) -> None:
        try:
            from pocketsphinx import Decoder
        except (ImportError, OSError) as error:
            raise UserError(
                f"barge_in.words is on, but the package for it cannot be imported: {error}",
                f"install it ({python_env.install('pocketsphinx')}), or set barge_in.words: off",
            ) from error
        # The recogniser must not write its statistics to standard error.
        self._decoder = Decoder(samprate=PIPELINE_RATE_HZ, loglevel="FATAL", lm=None)
        self._decoder.add_jsgf_string("orders", _GRAMMAR)
        self._decoder.activate_search("orders")

    def heard(self, pcm: bytes) -> Order | None:
        """Returns the order of which the sound consists; otherwise None. pcm: 16 bit, at the pipeline's rate."""
        self._decoder.start_utt()
        self._decoder.process_raw(_PADDING + pcm + _PADDING, full_utt=True)
        self._decoder.end_utt()
        words = [
            (segment.word.partition("(")[0], segment.ascore, segment.end_frame - segment.start_frame + 1)
            for segment in self._decoder.seg() or ()
            if segment.word[0] not in "<[+("
        ]
        return judge(words)


def judge(words: Sequence[tuple[str, float, int]]) -> Order | None:
    """words: (word, probability, frames) each. Pure."""
    scores = [(math.log(score) if score > 0 else _UNDERFLOW_LOG, frames) for _, score, frames in words]
    if not scores:
        return None
    order = ORDERS.get(" ".join(word for word, *_ in words if word != "please"))
    if order is None:
        return None
    mean = sum(score for score, _ in scores) / sum(frames for _, frames in scores)
    least, least_word = LEAST[order]
    return order if mean >= least and min(score / frames for score, frames in scores) >= least_word else None
