"""Explains in words why a server could not be reached, with a hint; used by every connection.

Pure except for the types of errors."""

from __future__ import annotations

import socket
import ssl
import sys
from typing import NamedTuple

from parleyd.host.certificates import Flaw, flaw
from parleyd.host.proxies import ProxyError
from parleyd.host.resolving import NameServersSilentError

HINT_CLOCK = "sudo timedatectl set-ntp true, or sudo date -s 'YYYY-MM-DD HH:MM'"
HINT_STRANGER = (
    "a company's or your own authority goes to /usr/local/share/ca-certificates (NAME.crt), then "
    "sudo update-ca-certificates; for public servers sudo apt-get install --reinstall ca-certificates"
)
_HINT_NAMES = "is the router itself online? If so, see `resolvectl status` and /etc/resolv.conf for the name server"
_DOCTOR = "`parleyd doctor` tells more"
# getaddrinfo(3): there is no such name, or it has no address.
NO_SUCH_NAME = (socket.EAI_NONAME, socket.EAI_NODATA)


class Trouble(NamedTuple):
    """reason: contains no secrets. hint: None if only the caller knows one. is_lasting: another try is useless."""

    reason: str
    hint: str | None = None
    is_lasting: bool = False


def trouble(error: Exception, host: str, key: str | None = None) -> Trouble:
    """host: as shown to the user. key: the configuration key that names it, for hints; None: there is none. error:
    OSError, HTTPException, or the error for an invalid name."""
    match error:
        case ProxyError():
            return Trouble(str(error), error.hint, error.is_lasting)
        case ssl.SSLCertVerificationError():
            return refused_certificate(error.verify_code, error.verify_message, host, key)
        case ssl.SSLError():
            return Trouble(f"no encrypted connection to {host}: {words(error)}")
        case NameServersSilentError():
            return Trouble(f"{host} cannot be looked up: no name server answers", _HINT_NAMES)
        case socket.gaierror():
            return _no_name(error, host)
        case TimeoutError():
            return Trouble(f"{host} does not answer")
        case ConnectionRefusedError():
            return Trouble(f"nothing listens at {host} (connection refused)")
        case UnicodeError():
            return Trouble(f"{host} is no name that can be looked up", f"check {key or 'the address'}")
        case _:
            return _not_http(error, host) or Trouble(f"cannot connect to {host}: {words(error)}")


def _not_http(error: Exception, host: str) -> Trouble | None:
    """None: the error is none of http.client's."""
    # It takes 8 ms and a megabyte, and most devices need it later or never; and while there is no file handle left,
    # which may be the very error, nothing can be imported. Where it is not loaded, nothing can raise its errors.
    if (http := sys.modules.get("http.client")) is None:
        return None
    if isinstance(error, http.RemoteDisconnected):
        return Trouble(f"cannot connect to {host}: the server hung up")
    if isinstance(error, http.HTTPException):
        return Trouble(f"{host} answered something that is not HTTP")
    return None


def hint_host(key: str | None) -> str:
    """The hint for a certificate of another host. key: as in trouble()."""
    return f"check {key or 'the address'}; in a hotel or guest network: log in there first, with a browser"


def refused_certificate(code: int, said: str, host: str, key: str | None = None) -> Trouble:
    """code, said: OpenSSL's verdict. key: as in trouble()."""
    said = said.rstrip(".")
    match flaw(code):
        case Flaw.NOT_YET:
            hint = f"set the clock (a board without one is wrong until it has the network): {HINT_CLOCK}"
            return Trouble(f"the certificate of {host} is not valid yet, by this machine's clock", hint)
        case Flaw.EXPIRED:
            hint = f"is the clock right? If not: {HINT_CLOCK}; if so, whoever runs the server must renew it"
            return Trouble(f"the certificate of {host} has expired, by this machine's clock", hint)
        case Flaw.HOST:
            return Trouble(f"the certificate is not for {host}: {said}", hint_host(key))
        case Flaw.STRANGER:
            text = f"the certificate of {host} is from nobody whom this machine trusts: {said}"
            return Trouble(text, f"{HINT_STRANGER}; `parleyd doctor` names the authority")
        case Flaw.REVOKED:
            return Trouble(f"the certificate of {host} was revoked: {said}", "tell whoever runs the server")
        case Flaw.FORM:
            text = f"the certificate of {host}, or of an authority behind it, is not accepted for its form: {said}"
            return Trouble(text, f"{hint_form('')}; `parleyd doctor` names the authority")
        case _:
            return Trouble(f"the certificate of {host} is not valid: {said}", _DOCTOR)


def hint_form(authority: str) -> str:
    """authority: its name, or ""."""
    who = f"whoever runs the authority {authority}" if authority else "whoever runs the authority"
    return f"neither the clock nor this device is at fault: {who} must issue a certificate that follows RFC 5280"


def words(error: BaseException) -> str:
    """The text of a system error, without its number."""
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.replace("_", " ").lower()
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error) or type(error).__name__


def _no_name(error: socket.gaierror, host: str) -> Trouble:
    if error.errno in NO_SUCH_NAME:
        return Trouble(f"the name {host} is not known")
    if error.errno == socket.EAI_AGAIN:
        return Trouble(f"{host} cannot be looked up: no name server answers", _HINT_NAMES)
    return Trouble(f"{host} cannot be looked up: {(error.strerror or 'the look-up failed').lower()}", _HINT_NAMES)
