"""Dynamic variables: values for the placeholders in an agent's texts, of whichever provider."""

from typing import Annotated

from msgspec import Meta

from parleyd.config.base import RunAs, Section, Text

Scalar = str | int | float | bool


class Variable(Section, frozen=True):
    """The source of a dynamic variable, which is read again for each session; exactly one of env, file and command."""

    env: Annotated[Text | None, Meta(description="name of an environment variable")] = None
    file: Annotated[Text | None, Meta(description="path of a file whose text is the value")] = None
    command: Annotated[
        Annotated[list[Text], Meta(min_length=1)] | None,
        Meta(description="a program and its arguments; its output is the value"),
    ] = None
    run_as: RunAs = "apart"
    default: Annotated[Scalar | None, Meta(description="the value if none could be read yet")] = None
