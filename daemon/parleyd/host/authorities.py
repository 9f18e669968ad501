"""The certificate authorities that the system trusts, read again only when the system's store has changed.

Reading the store takes 55 to 75 ms on a PC, longer than connecting, so it must not happen at each session's start.

An authority is trusted if root has put it into the system's store, as for curl and apt, and with every version of
Python: an upgrade of Debian must not silence a device in a wall. By default Python 3.13 refuses authorities whose
certificate does not follow RFC 5280 (VERIFY_X509_STRICT), such as those of office filters of ten years ago. The form of
a certificate does not say whether the owner of the machine trusts it. An intermediate authority in the store is enough,
as in 3.13 (VERIFY_X509_PARTIAL_CHAIN). `parleyd doctor` reports an authority with the old form.
"""

from __future__ import annotations

import ssl
from functools import lru_cache
from pathlib import Path

_Version = tuple[str, int] | None


def context(sockets: type[ssl.SSLSocket] = ssl.SSLSocket) -> ssl.SSLContext:
    """The context for a client; its wrap_socket() makes `sockets`. Callers share it and must not change it."""
    paths = ssl.get_default_verify_paths()
    file = _version(paths.cafile)
    # mypy confuses the __hash__ of a class with that of its objects; a class can be hashed.
    made = _context(sockets, file, _version(paths.capath))  # type: ignore[arg-type]
    if file is not None and not made.cert_store_stats()["x509_ca"]:
        # An empty context must not be cached: OpenSSL does not report that it could not open the file (no handle left).
        _context.cache_clear()
    return made


def strict_context() -> ssl.SSLContext:
    """Like context(), but it requires the form of RFC 5280. The doctor uses it for advice."""
    made = ssl.create_default_context()
    made.verify_flags |= ssl.VerifyFlags.VERIFY_X509_STRICT | ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    return made


def own_context(file: str | None) -> ssl.SSLContext:
    """A context of the caller's own, which may change it. file: of the authorities that are trusted instead of the
    system's. Raises OSError."""
    made = ssl.create_default_context(cafile=file)
    made.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    made.verify_flags &= ~ssl.VerifyFlags.VERIFY_X509_STRICT
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
