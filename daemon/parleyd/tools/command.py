"""Tools that run a program: the kind `command`, and functions of installed packages (kind `python`).

A Python function runs in a process of its own, so that it can be killed, cannot delay the sound, and frees its memory.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from parleyd.core.log_fields import fields
from parleyd.core.text import cause, without
from parleyd.host import subprocesses
from parleyd.host.apart import Apart
from parleyd.host.stopping import Stop
from parleyd.tools import template
from parleyd.tools.result import Fault, ToolError

log = logging.getLogger(__name__)


class Command:
    """A Runner, see toolbox. secrets: environment variables with their values. apart: None: run as the daemon."""

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        may_be_option: Sequence[str],
        directory: str,
        stdin: bool,
        environment: Mapping[str, str],
        secrets: Mapping[str, str],
        apart: Apart | None,
    ) -> None:
        """arguments: templates. stdin: the program reads the parameters as JSON from it. Raises TemplateError."""
        self._templates = [template.parse(argument) for argument in arguments]
        self._may_be_option = frozenset(may_be_option)
        self._directory = directory
        self._stdin = stdin
        self._environment = {**environment, **secrets}
        self._secrets = tuple(secrets.values())
        self._apart = apart
        self._is_hinted = False

    def run(self, parameters: Mapping[str, object], stop: Stop) -> str:
        arguments = template.arguments(self._templates, parameters, self._may_be_option)
        stdin = json.dumps(parameters, ensure_ascii=False).encode("utf-8") if self._stdin else b""
        return self._outcome(arguments, stdin, stop)

    def _outcome(self, arguments: Sequence[str], stdin: bytes, stop: Stop) -> str:
        try:
            ran = subprocesses.run(
                arguments,
                apart=self._apart,
                directory=self._directory,
                environment=self._environment,
                stdin=stdin,
                stop=stop,
            )
        except subprocesses.NotStartedError as error:
            raise ToolError(Fault.FAILED, self._hinted(arguments[0], str(error))) from None
        if ran.status != 0:
            said = cause(ran.errors, self._secrets) or cause(ran.output, self._secrets)
            how = f"signal {-ran.status}" if ran.status < 0 else f"code {ran.status}"
            text = f"The tool failed with {how}{f': {said}' if said else ''}"
            raise ToolError(Fault.FAILED, self._hinted(arguments[0], text))
        return without(ran.output, self._secrets)

    def _hinted(self, program: str, text: str) -> str:
        """Returns the failure as a sentence. If the program was refused something because it runs apart, the sentence
        ends with a hint, which is logged once as well."""
        text = text.rstrip(".")
        hint = "" if self._apart is None else self._apart.hint_about(text)
        if not hint:
            return f"{text}."
        if not self._is_hinted:
            self._is_hinted = True
            log.warning("%s: %s; %s", Path(program).name, text, hint, extra=fields(reason=text, hint=hint))
        return f"{text}; {hint}."


class PythonFunction(Command):
    """The entry point `name` of the group `parleyd.tools`."""

    def __init__(
        self, name: str, *, environment: Mapping[str, str], secrets: Mapping[str, str], apart: Apart | None
    ) -> None:
        # The tool's interpreter gets this interpreter's search path, so that it finds the same packages.
        path = os.pathsep.join(entry for entry in sys.path if entry)
        super().__init__(
            [sys.executable, "-m", "parleyd.tools.python_function", name.replace("{", "{{").replace("}", "}}")],
            may_be_option=(),
            directory="/",
            stdin=True,
            environment={"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", **environment},
            secrets=secrets,
            apart=apart,
        )
