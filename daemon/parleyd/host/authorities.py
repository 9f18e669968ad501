"""Whom the system trusts to vouch for a server, read when that has changed.

To read them all takes longer than to connect: 55 to 75 ms on a PC, of each session's start.

What counts is what root has put into the system's store, as for curl and apt, and the same for every Python: an upgrade
of Debian must not silence a device in a wall. From 3.13 on Python by itself refuses authorities whose certificate is
not made after RFC 5280 (VERIFY_X509_STRICT), such as those of office filters of ten years ago: their form says nothing
about whether the owner of the machine trusts them. An intermediate authority in the store is enough, as 3.13 has it,
too (VERIFY_X509_PARTIAL_CHAIN). `parleyd doctor` tells when an authority is of the old form.
"""

from __future__ import annotations

import ssl
from functools import lru_cache
from pathlib import Path

_Version = tuple[str, int] | None


def context(sockets: type[ssl.SSLSocket] = ssl.SSLSocket) -> ssl.SSLContext:
    """For a client; wrap_socket() makes such sockets. Not to be changed: others use it too."""
    paths = ssl.get_default_verify_paths()
    file = _version(paths.cafile)
    # A class can be hashed; mypy takes the __hash__ of its objects for its own.
    made = _context(sockets, file, _version(paths.capath))  # type: ignore[arg-type]
    if file is not None and not made.cert_store_stats()["x509_ca"]:
        # OpenSSL does not say that it could not open the file, because no handle was left: not to be kept.
        _context.cache_clear()
    return made


def strict_context() -> ssl.SSLContext:
    """As context(), but it insists on the form of RFC 5280: for advice."""
    made = ssl.create_default_context()
    made.verify_flags |= ssl.VerifyFlags.VERIFY_X509_STRICT | ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    return made


@lru_cache(maxsize=2)
def _context(sockets: type[ssl.SSLSocket], _file: _Version, _folder: _Version) -> ssl.SSLContext:
    made = ssl.create_default_context()
    made.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    made.verify_flags &= ~ssl.VerifyFlags.VERIFY_X509_STRICT
    made.sslsocket_class = sockets
    return made


def _version(path: str | None) -> _Version:
    try:
        return (path, Path(path).stat().st_mtime_ns) if path is not None else None
    except OSError:
        return None
