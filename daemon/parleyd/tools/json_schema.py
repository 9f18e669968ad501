"""jsonschema, loaded when it is needed, and without what it would load for nothing.

It costs 3 MB and a tenth of a second of a PC's processor, a second on a small board. Therefore a daemon does not start
with it: DeviceTools loads it in the background when the first session begins, so that no call has to wait for it.
"""

from __future__ import annotations

import sys
import threading
from typing import cast

# jsonschema imports these, if they are installed, for the word `format`, which is not checked here. One of them
# compiles a grammar meanwhile: 2.7 s and 24 MB.
_FOR_FORMATS = (
    "fqdn", "isoduration", "rfc3339_validator", "rfc3986_validator", "rfc3987", "rfc3987_syntax", "uri_template",
    "webcolors",
)  # fmt: skip
_lock = threading.Lock()


def load() -> None:
    """Returns when it can be used: at once, but for the first time. Thread-safe."""
    with _lock:
        if "jsonschema" in sys.modules:
            return
        left_out = [name for name in _FOR_FORMATS if name not in sys.modules]
        # So an import says that there is no such module.
        sys.modules.update(cast("dict[str, object]", dict.fromkeys(left_out)))  # type: ignore[arg-type]
        try:
            import jsonschema  # noqa: F401
        finally:
            for name in left_out:
                del sys.modules[name]
