"""Why the embedded agent, its ears or its voice cannot work here."""

from __future__ import annotations

from parleyd.host import python_env

EXTRA_HINT = python_env.install("websockets", "pocketsphinx")
