"""The base classes of the schema.

The modules of the schema leave out `from __future__ import annotations`: with it annotations are text, which msgspec
and the loader would compile at each start of the daemon, for 40 ms.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct

Text = Annotated[str, Meta(min_length=1)]
RunAs = Annotated[
    Literal["apart", "daemon"],
    Meta(description="daemon: not apart, but with all that the daemon may: its key, files and control socket"),
]


class Section(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A mapping in the YAML file."""


class Secret(Section, frozen=True):
    """The place of a secret; exactly one of the keys."""

    env: Annotated[Text | None, Meta(description="name of an environment variable")] = None
    file: Annotated[Text | None, Meta(description="path of a file whose first line is the secret")] = None
    credential: Annotated[Text | None, Meta(description="name of a systemd credential (see parleyd secret)")] = None
