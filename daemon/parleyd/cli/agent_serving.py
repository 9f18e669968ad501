"""Reads the options of `parleyd agent` that make it a server for other machines: who may reach it, by which protection,
and how several of them are one service."""

from __future__ import annotations

import argparse
import os
import ssl
from pathlib import Path
from typing import TYPE_CHECKING

from parleyd.config.base import Secret
from parleyd.config.secrets import SecretError, resolve
from parleyd.core.errors import UserError
from parleyd.host import web_pages
from parleyd.host.files import read_file

if TYPE_CHECKING:
    from parleyd.embedded.replica import Replica

DRAIN_S = 20.0
_MOST_DRAIN_S = 3600.0
LEAST_SECRET_CHARS = 16
_MOST_PEM_BYTES = 1024 * 1024
# Instead of --signing-secret-file.
SECRET_VARIABLE = "PARLEYD_SIGNING_SECRET"


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on, default: %(default)s")
    parser.add_argument(
        "--key-file", type=Path, metavar="FILE", help="the file whose first line is the key that every client must send"
    )
    parser.add_argument(
        "--no-key", action="store_true", help="serve the whole network without a key, with --host of another address"
    )
    parser.add_argument("--tls-cert", type=Path, metavar="FILE", help="serve TLS with this certificate chain (PEM)")
    parser.add_argument("--tls-key", type=Path, metavar="FILE", help="its private key, if it is in another file")
    parser.add_argument(
        "--no-tls", action="store_true", help="serve other machines without TLS: a balancer before this server has it"
    )
    parser.add_argument("--replica", metavar="NAME", help="the name of this server among several behind a balancer")
    parser.add_argument(
        "--signing-secret-file",
        type=Path,
        metavar="FILE",
        help="the file whose first line signs the signed URLs, the same for all replicas; default: "
        f"{SECRET_VARIABLE} of the environment",
    )
    parser.add_argument("--most-sessions", type=_count, metavar="N", help="refuse further sessions with 503")
    parser.add_argument(
        "--drain",
        type=_seconds,
        default=DRAIN_S,
        metavar="S",
        help="on SIGTERM, let turns come to their end for so many seconds; default: %(default)g",
    )


def check_reach(args: argparse.Namespace, *, has_key: bool) -> None:
    """Other machines get in only with a key and by TLS, unless the user says otherwise. Raises UserError."""
    if args.tls_cert is None and args.tls_key is not None:
        raise UserError("--tls-key needs a certificate", "give it with --tls-cert FILE", os.EX_USAGE)
    if web_pages.is_this_machine(args.host):
        return
    if not (has_key or args.no_key):
        text = f"on {args.host} everybody on the network could talk to the agent"
        raise UserError(text, "give it a key with --key-file FILE, or say --no-key", os.EX_USAGE)
    if args.tls_cert is None and not args.no_tls:
        text = f"on {args.host} everybody on the way could read the key and hear the conversations"
        hint = "give a certificate with --tls-cert FILE, or say --no-tls if a balancer has it"
        raise UserError(text, hint, os.EX_USAGE)


def replica(args: argparse.Namespace) -> Replica:
    """Raises UserError."""
    from parleyd.embedded.replica import NAME, Replica

    name = args.replica or ""
    if name and NAME.fullmatch(name) is None:
        hint = "use up to 32 small letters, digits and hyphens, with none of these at its ends"
        raise UserError(f"{name!r} cannot be the name of a replica", hint, os.EX_USAGE)
    tls = None if args.tls_cert is None else _tls(args.tls_cert, args.tls_key)
    secret, place = _secret(args.signing_secret_file)
    if secret is None:
        if name:
            text = "a replica needs the secret that signs the signed URLs, or the others refuse its clients"
            raise UserError(text, "give all of them the same with --signing-secret-file FILE", os.EX_USAGE)
        return Replica(name, most_sessions=args.most_sessions, tls=tls)
    if len(secret) < LEAST_SECRET_CHARS:
        text = f"{place}: a secret of {len(secret)} characters can be guessed"
        hint = f"it needs {LEAST_SECRET_CHARS}; such as: openssl rand -hex 32 > FILE"
        raise UserError(text, hint, os.EX_DATAERR)
    return Replica(name, secret.encode(), args.most_sessions, tls)


def _secret(path: Path | None) -> tuple[str | None, str]:
    """The secret, if there is one, and its place."""
    if path is not None:
        return first_line(path), str(path)
    if SECRET_VARIABLE not in os.environ:
        return None, SECRET_VARIABLE
    hint = "put such as `openssl rand -hex 32` into it, or use --signing-secret-file FILE"
    return _resolved(Secret(env=SECRET_VARIABLE), hint), SECRET_VARIABLE


def first_line(path: Path) -> str:
    """A key or a secret. Raises UserError."""
    return _resolved(Secret(file=str(path)))


def _resolved(secret: Secret, hint: str | None = None) -> str:
    try:
        return resolve(secret) or ""
    except SecretError as error:
        raise UserError(str(error), hint or error.hint, os.EX_NOINPUT) from error


def _tls(certificate: Path, key: Path | None) -> ssl.SSLContext:
    chain, of_key = _pem(certificate), key or certificate
    private = chain if key is None else _pem(key)
    if not _is_chain(chain):
        text = f"{certificate} is no certificate that can be used: it has none in PEM, or a damaged one"
        raise UserError(text, "give the chain with --tls-cert FILE", os.EX_DATAERR)
    if b"-----BEGIN ENCRYPTED" in private or b"Proc-Type: 4,ENCRYPTED" in private:
        text = f"the private key in {of_key} has a password, and a service has nobody to ask for it"
        raise UserError(text, f"take it off: openssl pkey -in {of_key} -out FILE", os.EX_DATAERR)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # A password would be asked for on the terminal.
        context.load_cert_chain(certificate, key, password=lambda: "")
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            text = f"the private key in {of_key} is not that of the first certificate in {certificate}"
        else:
            text = f"{of_key} has no private key that can be used ({error.reason or 'it has none in PEM'})"
        raise UserError(text, "give the right one with --tls-key FILE", os.EX_DATAERR) from error
    return context


def _pem(path: Path) -> bytes:
    try:
        return read_file(path, _MOST_PEM_BYTES)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "not a usable path"
        hint = "name the files with --tls-cert and --tls-key"
        raise UserError(f"cannot read {path}: {reason}", hint, os.EX_NOINPUT) from error


def _is_chain(content: bytes) -> bool:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=content.decode("ascii", "ignore"))
    except (ssl.SSLError, ValueError):
        return False
    return True


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 100_000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of sessions; use 1 to 100000")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= _MOST_DRAIN_S:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time; use 0 to {_MOST_DRAIN_S:g} seconds")
    return seconds
