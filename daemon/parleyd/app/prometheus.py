"""Exports the status as figures for Prometheus: as a file for node_exporter's textfile collector, or on a loopback
port.

Needs the package prometheus_client. Names and units follow prometheus.io/docs/practices/naming: base units, _total.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from parleyd.app.metrics import EDGES_MS, Distribution
from parleyd.app.status import Microphone, Speaker, StatusReport
from parleyd.config.schema import Metrics as Settings
from parleyd.core import health
from parleyd.core.errors import UserError
from parleyd.core.health import Pulse
from parleyd.host import python_env, web_pages
from parleyd.host.files import replace_file
from parleyd.host.told_once import ToldOnce

if TYPE_CHECKING:
    from wsgiref.simple_server import WSGIServer
    from wsgiref.types import StartResponse, WSGIApplication

    from prometheus_client.core import Metric

log = logging.getLogger(__name__)

EVERY_S = 60.0
_REQUEST_S = 5.0
STATES = ("starting", "asleep", "connecting", "live", "backing off")


class Exporter:
    """Use start(), then stop(). Raises UserError."""

    def __init__(self, settings: Settings, status: Callable[[], StatusReport]) -> None:
        self._settings = settings
        self._status = status
        self._stopping = False
        self._nudged = threading.Event()
        self._thread = threading.Thread(target=self._write, name="metrics", daemon=True)
        self._server: WSGIServer | None = None
        self._told = ToldOnce(log)
        self.pulse = Pulse("metrics")
        try:
            from prometheus_client import CollectorRegistry, generate_latest, make_wsgi_app
        except ImportError as error:
            text = "metrics.textfile and metrics.port need the package prometheus_client"
            raise UserError(text, python_env.install("prometheus_client")) from error
        self._make_app, self._text = make_wsgi_app, generate_latest
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def collect(self) -> Iterable[Metric]:
        return figures(self._status())

    def start(self) -> None:
        port = self._settings.port
        if port is not None:
            try:
                self._server = _server(port, self._make_app(self._registry))
            except OSError as error:
                text = f"metrics.port: 127.0.0.1:{port} cannot be opened: {error.strerror}"
                raise UserError(text, "choose another port") from error
        if self._settings.textfile is not None:
            self._thread.start()

    def write_soon(self) -> None:
        """Writes the text file without waiting for the next minute."""
        self._nudged.set()

    def stop(self) -> None:
        self._stopping = True
        self._nudged.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
        if self._thread.is_alive():
            self._thread.join(1.0)

    def _write_once(self, path: Path) -> None:
        """Raises OSError."""
        # The collector is another user.
        replace_file(path, self._text(self._registry), 0o644, at_once=False)

    def _write(self) -> None:
        assert self._settings.textfile is not None
        path = Path(self._settings.textfile)
        while not self._stopping:
            self.pulse.beat()
            try:
                self._write_once(path)
            except OSError as error:
                hint = "let the daemon write there (docs/control.md), or name another place; it is tried again"
                if error.errno == errno.EROFS:
                    # The unit's ProtectSystem= forbids writing there.
                    hint = f"sudo systemctl edit parleyd, [Service], ReadWritePaths={path.parent}"
                self._told.trouble(f"metrics.textfile: {path} cannot be written: {error.strerror}", hint)
            else:
                self._told.over(f"metrics.textfile: {path} is written again")
            self.pulse.rest()
            self._nudged.wait(EVERY_S)
            self._nudged.clear()
        # Figures of a daemon that has ended would look like those of a running one.
        with contextlib.suppress(OSError):
            path.unlink()


def _server(port: int, app: WSGIApplication) -> WSGIServer:
    """Serves the figures on loopback, on a separate thread. Web pages are refused, because the figures show whether
    somebody is at home."""
    from socketserver import ThreadingMixIn
    from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

    def guarded(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        host, origin = environ.get("HTTP_HOST"), environ.get("HTTP_ORIGIN")
        refusal = web_pages.host_refusal(host) or web_pages.origin_refusal(origin)
        if refusal is None:
            return app(environ, start_response)
        start_response("403 Forbidden", [("Content-Type", "text/plain")])
        return [refusal.encode()]

    class Server(ThreadingMixIn, WSGIServer):
        daemon_threads = True

    class Quiet(WSGIRequestHandler):
        # How long a client that sends nothing may occupy a thread.
        timeout = _REQUEST_S

        def log_message(self, *_: object) -> None:
            """Requests are not logged."""

    server = make_server("127.0.0.1", port, guarded, server_class=Server, handler_class=Quiet)
    threading.Thread(target=server.serve_forever, name="metrics port", daemon=True).start()
    return server


def figures(status: StatusReport) -> Iterable[Metric]:
    """Every figure of the status, with its name, unit and meaning."""
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

    it, load, usage = status.metrics, status.load, status.usage
    microphone, speaker = status.microphone, status.speaker
    for name, value, what in (
        ("wakes", it.wakes, "times it woke"),
        ("sessions", it.sessions, "sessions opened"),
        ("session_seconds", it.session_s, "length of all sessions"),
        ("reconnects", it.reconnects, "further tries to connect"),
        ("failed_tries", it.failed_tries, "tries to connect that failed"),
        ("utterances", it.utterances, "openings of the gate"),
        ("answers", it.answers, "answers that were heard"),
        ("interruptions", it.interruptions, "answers cut by the person"),
        ("tool_calls", it.tool_calls, "tools called by the agent"),
        ("lost_speech_seconds", it.lost_speech_ms / 1000, "speech that reached no agent"),
        ("missing_sound_seconds", it.missing_sound_ms / 1000, "sound of the room that did not reach the ears"),
        ("device_losses", it.device_losses, "times a sound device went away"),
        ("fallbacks", it.fallbacks, "times the fallback began to answer"),
        ("heard_seconds", it.heard_s, "sound from the microphone"),
        ("speech_seconds", it.speech_s, "of it, sound within utterances"),
        ("sent_bytes", it.sent_bytes, "sent to agents"),
        ("received_bytes", it.received_bytes, "received from agents"),
        ("overflows", microphone.overflows if microphone else 0, "times sound from the microphone was lost"),
        ("underruns", speaker.underruns if speaker else 0, "holes in an answer"),
    ):
        yield CounterMetricFamily(f"parleyd_{name}", what, value)
    for name, value, what in (
        ("up_seconds", status.uptime_s, "time since the start"),
        ("healthy", float(status.health == health.Grade.WELL.value), "1: nothing is wrong"),
        ("fallback_answers", float(status.fallback is not None), "1: the fallback answers instead of the agent"),
        *_sound_figures(microphone, speaker),
        ("resident_memory_bytes", load.memory_bytes, "resident memory"),
        ("threads", load.threads, "threads"),
        ("today_session_seconds", usage["session_minutes_today"] * 60, "length of today's sessions"),
        ("month_session_seconds", usage["session_minutes_month"] * 60, "length of this month's sessions"),
        ("today_cost", usage["money_today"], "cost of today, in budget.currency"),
        ("month_cost", usage["money_month"], "cost of this month, in budget.currency"),
        ("today_sent_bytes", usage["sent_bytes_today"], "sent to agents today"),
        ("today_received_bytes", usage["received_bytes_today"], "received from agents today"),
        ("today_left_the_room_seconds", usage["left_s_today"], "sound that was sent today"),
        ("open_file_handles", load.handles, "file handles"),
    ):
        yield GaugeMetricFamily(f"parleyd_{name}", what, value)
    build = GaugeMetricFamily("parleyd_build_info", "1: this version runs", labels=["version", "provider"])
    build.add_metric([status.version, status.provider], 1.0)
    yield build
    if status.settings is not None:
        yield GaugeMetricFamily(
            "parleyd_settings_revision", "how often settings were changed", status.settings.revision
        )
    troubles = GaugeMetricFamily("parleyd_trouble", "1: this part has a trouble", labels=["part"])
    # One part may have several.
    for part in sorted({trouble.part for trouble in status.troubles}):
        troubles.add_metric([part], 1.0)
    yield troubles
    tokens = GaugeMetricFamily("parleyd_today_tokens", "tokens that were billed today", labels=["kind"])
    for kind, count in usage["tokens_today"].items():
        tokens.add_metric([kind], float(count))
    yield tokens
    state = GaugeMetricFamily("parleyd_state", "1: it is in this state", labels=["state"])
    for one in STATES:
        state.add_metric([one], float(one == status.state))
    yield state
    for name, distribution, what in (
        ("speech_to_sound_seconds", it.speech_to_sound, "end of speech to the first sound of the answer"),
        ("wake_to_live_seconds", it.wake_to_live, "waking to a session"),
        ("clear_residual_seconds", it.clear_residual, "interruption to silence"),
    ):
        yield HistogramMetricFamily(
            f"parleyd_{name}", what, buckets=_cumulative(distribution), sum_value=distribution.sum_ms / 1000
        )


def _sound_figures(microphone: Microphone | None, speaker: Speaker | None) -> Iterable[tuple[str, float, str]]:
    """The figures about sound; none without sound."""
    if microphone is not None:
        yield "microphone_present", float(microphone.present), "1: sound comes from it"
        yield "muted", float(microphone.muted), "1: the microphone is muted"
        yield "microphone_level_dbfs", microphone.level_dbfs, "of the last frame"
        yield "microphone_gain_db", microphone.gain_db, "how much louder it is made; the levels hold it"
        yield "room_level_dbfs", microphone.floor_dbfs, "the level below which nobody speaks"
    if speaker is not None:
        yield "speaker_present", float(speaker.present), "1: it takes sound"
        yield "volume_ratio", speaker.volume, "0 to 1"


def _cumulative(distribution: Distribution) -> list[tuple[str, float]]:
    edges = [f"{edge / 1000:g}" for edge in EDGES_MS] + ["+Inf"]
    total = 0
    buckets = []
    for edge, many in zip(edges, distribution.buckets, strict=True):
        total += many
        buckets.append((edge, float(total)))
    return buckets
