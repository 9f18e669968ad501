"""paho-mqtt without dnspython, which it loads where it is installed: for a look-up that is not used here, and with half
of the memory of `parleyd mqtt`."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import cast

_DNS = "dns"
_before = sys.modules.get(_DNS)
# An import of it fails now, as if it were not installed.
sys.modules[_DNS] = cast(ModuleType, None)
try:
    from paho.mqtt import client as client
finally:
    if _before is None:
        del sys.modules[_DNS]
    else:
        sys.modules[_DNS] = _before
