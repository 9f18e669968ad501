"""The wake word: microWakeWord models by the package pymicro-wakeword, on 20 ms frames."""

from __future__ import annotations

from typing import Literal

from parleyd.audio.pcm import Frame
from parleyd.core.errors import UserError
from parleyd.host import python_env

Word = Literal["okay_nabu", "hey_jarvis", "hey_mycroft", "alexa"]


class WakeWord:
    """Listens for one word. Raises UserError when its package cannot be used."""

    def __init__(self, word: Word) -> None:
        try:
            from pymicro_wakeword import MicroWakeWord, MicroWakeWordFeatures, Model
        except (ImportError, OSError) as error:
            raise UserError(
                f"wake.mode is word, but the package for it cannot be imported: {error}",
                f"install it ({python_env.install('pymicro-wakeword')}), or set wake.mode: speech",
            ) from error
        self._model = MicroWakeWord.from_builtin(Model(word))
        self._features = MicroWakeWordFeatures()

    def heard(self, frame: Frame) -> bool:
        """Whether the word ended with this frame, or a little before it."""
        heard = False
        # Every feature has to be processed, because the model has a state.
        for features in self._features.process_streaming(frame.pcm):
            heard |= bool(self._model.process_streaming(features))
        return heard

    def reset(self) -> None:
        """Forgets the sound so far, so that it cannot be part of a word."""
        self._model.reset()
        self._features.reset()
