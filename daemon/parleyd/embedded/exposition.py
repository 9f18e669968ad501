"""The figures of the embedded agent as text for Prometheus. Needs the package prometheus_client.

Names and units follow prometheus.io/docs/practices/naming: base units, _total.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import accumulate
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from parleyd.embedded.figures import EDGES_S, Delays, Figures

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def text(figures: Figures) -> bytes:
    """All figures as they are now."""
    registry = CollectorRegistry()
    registry.register(_Collector(figures))
    return generate_latest(registry)


class _Collector(Collector):
    def __init__(self, figures: Figures) -> None:
        self._figures = figures

    def collect(self) -> Iterator[Metric]:
        it = self._figures
        yield GaugeMetricFamily("parleyd_agent_sessions", "Sessions that go on now.", it.sessions_now)
        yield GaugeMetricFamily("parleyd_agent_draining", "1 while no new session is taken.", int(it.is_draining))
        sessions = CounterMetricFamily("parleyd_agent_sessions_begun", "Sessions since the start.", labels=["protocol"])
        refused = CounterMetricFamily(
            "parleyd_agent_sessions_refused", "Sessions that were refused for want of room.", labels=["reason"]
        )
        failures = CounterMetricFamily(
            "parleyd_agent_failures", "Requests that a part behind an address did not answer.", labels=["part"]
        )
        counted: tuple[tuple[CounterMetricFamily, Mapping[Any, int]], ...] = (
            (sessions, it.sessions), (refused, it.refused), (failures, it.failures),
        )  # fmt: skip
        for family, counts in counted:
            for label, count in sorted(counts.items()):
                family.add_metric([label], count)
            yield family
        for name, told, count in (
            ("turns", "Words of a person that were answered.", it.turns),
            ("interruptions", "Answers that a person cut off.", it.interruptions),
            ("guesses", "Turns that were begun before the end of speech was certain.", it.guesses),
            ("guesses_used", "Those of them that became the answer.", it.guesses_used),
        ):
            yield CounterMetricFamily(f"parleyd_agent_{name}", told, count)
        delays = HistogramMetricFamily("parleyd_agent_delay_seconds", "The parts of a turn's delay.", labels=["part"])
        for part, delay in it.delays.items():
            delays.add_metric([part], _buckets(delay), delay.sum_s)
        yield delays
        waited = "How long each sentence waits until the voice begins with it."
        queue = HistogramMetricFamily("parleyd_agent_voice_queue_seconds", waited)
        queue.add_metric([], _buckets(it.voice_queue), it.voice_queue.sum_s)
        yield queue


def _buckets(delays: Delays) -> list[tuple[str, float]]:
    edges = [*(str(edge) for edge in EDGES_S), "+Inf"]
    return list(zip(edges, accumulate(delays.buckets), strict=True))
