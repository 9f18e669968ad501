"""The errors of the embedded agent, its speech recognition and its voice."""

from __future__ import annotations

from parleyd.host import python_env

EXTRA_HINT = python_env.install("websockets", "pocketsphinx")
