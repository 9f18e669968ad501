"""Classifies a refused certificate by OpenSSL's error number. Pure.

The numbers are X509_V_ERR_* of OpenSSL (x509_vfy.h); they are stable.
"""

from __future__ import annotations

from enum import Enum


class Flaw(Enum):
    """not_yet, expired: the certificate, or an authority's, is not valid yet or any more by this machine's clock.
    host: the certificate is for another host.
    stranger: this machine does not trust the authority.
    revoked: the authority has revoked the certificate.
    form: the form of the certificate, or of an authority's certificate, is not accepted.
    other: all other errors."""

    NOT_YET = "not yet"
    EXPIRED = "expired"
    HOST = "host"
    STRANGER = "stranger"
    REVOKED = "revoked"
    FORM = "form"
    OTHER = "other"


_FLAWS: dict[Flaw, tuple[int, ...]] = {
    Flaw.NOT_YET: (9,),
    Flaw.EXPIRED: (10,),
    Flaw.HOST: (62, 63, 64),
    # No issuer found, self-signed, first one unverifiable, not trusted.
    Flaw.STRANGER: (2, 18, 19, 20, 21, 27),
    Flaw.REVOKED: (23, 28),
    # Dates and keys that cannot be read, signatures; chains and purposes; extensions, names and constraints; weak keys
    # and digests; and from 79 on what RFC 5280 demands of the form (X509_V_FLAG_X509_STRICT).
    Flaw.FORM: (
        *(4, 6, 7, 13, 14, 22, 24, 25, 26, 29, 30, 31, 32, 34, 37, 38, 39, 40, 41, 42, 43, 45),
        *range(47, 54),
        *(55, 66, 67, 68, 76, 77, 78),
        *range(79, 95),
    ),
}
_BY_CODE = {code: flaw for flaw, codes in _FLAWS.items() for code in codes}


def flaw(code: int) -> Flaw:
    """The class of an error. code: SSLCertVerificationError.verify_code."""
    return _BY_CODE.get(code, Flaw.OTHER)


def issuer(certificate: bytes) -> str:
    """The name of the certificate's issuer, such as `Office filter (Example Ltd)`; "" if it cannot be read.
    certificate: DER."""
    try:
        # RFC 5280, section 4.1: version (which may be left out), serial number, signature's algorithm, issuer.
        tag, _, rest = _element(_inside(_inside(certificate)))
        for _ in range(2 if tag == 0xA0 else 1):
            _, _, rest = _element(rest)
        names = _names(_inside(rest))
    except (IndexError, ValueError):
        return ""
    common, organisation = names.get(b"\x55\x04\x03", ""), names.get(b"\x55\x04\x0a", "")
    return f"{common} ({organisation})" if common and organisation else common or organisation


def _names(sequence: bytes) -> dict[bytes, str]:
    """RFC 5280, section 4.1.2.4: sets of pairs of an identifier and a text."""
    found: dict[bytes, str] = {}
    while sequence:
        _, one, sequence = _element(sequence)
        _, identifier, rest = _element(_inside(one))
        tag, text, _ = _element(rest)
        found[identifier] = text.decode("utf-16-be" if tag == 0x1E else "utf-8", "replace")
    return found


def _inside(data: bytes) -> bytes:
    return _element(data)[1]


def _element(data: bytes) -> tuple[int, bytes, bytes]:
    """One element of DER: its tag, its content, and the bytes after it (X.690, section 8.1). Raises IndexError,
    ValueError."""
    tag, length, start = data[0], data[1], 2
    if length & 0x80:
        start += length & 0x7F
        length = int.from_bytes(data[2:start], "big")
    if len(data) < start + length:
        raise ValueError("cut off")
    return tag, data[start : start + length], data[start + length :]
