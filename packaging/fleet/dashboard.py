#!/usr/bin/env python3
"""Makes the Grafana dashboard for a fleet: dashboard.json. scripts/test-fleet runs each of its expressions on a real
Prometheus.

    dashboard.py > dashboard.json
    dashboard.py --check            dashboard.json is what this makes
    dashboard.py --expressions      all expressions, one in a line
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

SOURCE = {"type": "prometheus", "uid": "${source}"}
WIDTH = 24


def _quantile(share: float, name: str) -> str:
    return f"histogram_quantile({share}, sum by (le) (rate({name}_bucket[$__rate_interval])))"


# (title, kind, unit, width, expressions with their legends). A unit is one of Grafana's.
PANELS: tuple[tuple[str, str, str, int, tuple[tuple[str, str], ...]], ...] = (
    ("Devices", "stat", "none", 4, (("count(parleyd_build_info)", ""),)),
    ("Healthy", "stat", "percentunit", 4, (("avg(parleyd_healthy)", ""),)),
    ("Muted", "stat", "none", 4, (("sum(parleyd_muted)", ""),)),
    ("In a session", "stat", "none", 4, (('sum(parleyd_state{state="live"})', ""),)),
    ("Session time today", "stat", "s", 4, (("sum(parleyd_today_session_seconds)", ""),)),
    ("Cost today", "stat", "none", 4, (("sum(parleyd_today_cost)", ""),)),
    (
        "Devices by version", "timeseries", "none", 12,
        (("count by (version, provider) (parleyd_build_info)", "{{version}} {{provider}}"),),
    ),
    (
        "Devices with a trouble, by part", "timeseries", "none", 12,
        # Without any trouble the line is at 0 rather than missing.
        (("sum by (part) (parleyd_trouble) or vector(0)", "{{part}}"),),
    ),
    (
        "End of speech to the first sound", "timeseries", "s", 12,
        tuple(
            (_quantile(q, "parleyd_speech_to_sound_seconds"), text)
            for q, text in ((0.5, "median"), (0.9, "one of ten"))
        ),
    ),
    (
        "From waking to a session", "timeseries", "s", 12,
        ((_quantile(0.9, "parleyd_wake_to_live_seconds"), "one of ten"),),
    ),
    (
        "Sessions, and tries that failed, per hour", "timeseries", "none", 12,
        (
            ("3600 * sum(rate(parleyd_sessions_total[$__rate_interval]))", "sessions"),
            ("3600 * sum(rate(parleyd_failed_tries_total[$__rate_interval]))", "failed"),
        ),
    ),
    (
        "Speech that reached no agent, per hour", "timeseries", "s", 12,
        (("3600 * sum(rate(parleyd_lost_speech_seconds_total[$__rate_interval]))", "lost"),),
    ),
    (
        "Holes in the sound, per hour", "timeseries", "none", 12,
        (
            ("3600 * sum(rate(parleyd_underruns_total[$__rate_interval]))", "of an answer"),
            ("3600 * sum(rate(parleyd_overflows_total[$__rate_interval]))", "of the microphone"),
        ),
    ),
    (
        "Memory", "timeseries", "bytes", 12,
        (("max(parleyd_resident_memory_bytes)", "most"), ("avg(parleyd_resident_memory_bytes)", "mean")),
    ),
    (
        # One row for each device. The legend names the column; without one only the labels are shown.
        "Devices", "table", "none", 24,
        (
            ("max by (instance, version, provider) (parleyd_build_info)", ""),
            ("max by (instance) (parleyd_settings_revision)", "settings"),
            ("max by (instance) (parleyd_healthy)", "healthy"),
            ("max by (instance) (parleyd_up_seconds)", "up"),
        ),
    ),
)  # fmt: skip


YES_NO = [{"type": "value", "options": {"1": {"text": "yes", "index": 0}, "0": {"text": "no", "index": 1}}}]


def _one_row_for_each_device(expressions: tuple[tuple[str, str], ...]) -> list[dict[str, Any]]:
    """The columns that Grafana makes of several queries are called `Time 1`, `Value #A` and so on."""
    queries = [(chr(65 + index), legend) for index, (_, legend) in enumerate(expressions)]
    hidden = [f"Time {number}" for number in range(1, len(queries) + 1)]
    hidden += [f"Value #{letter}" for letter, legend in queries if not legend]
    named = {f"Value #{letter}": legend for letter, legend in queries if legend}
    order = ["instance", "version", "provider", *named]
    organized = {
        "excludeByName": dict.fromkeys(hidden, True),
        "renameByName": {"instance": "device", **named},
        "indexByName": {name: index for index, name in enumerate(order)},
    }
    return [
        {"id": "joinByField", "options": {"byField": "instance", "mode": "outer"}},
        {"id": "organize", "options": organized},
    ]


def _of_column(name: str, key: str, value: object) -> dict[str, Any]:
    return {"matcher": {"id": "byName", "options": name}, "properties": [{"id": key, "value": value}]}


def panels() -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []
    x = y = 0
    for number, (title, kind, unit, width, expressions) in enumerate(PANELS, 1):
        height = 4 if kind == "stat" else 8
        if x + width > WIDTH:
            x, y = 0, y + made[-1]["gridPos"]["h"]
        targets = [
            {
                "datasource": SOURCE, "expr": expression, "legendFormat": legend or "__auto", "refId": chr(65 + index),
                **({"format": "table", "instant": True} if kind == "table" else {}),
            }
            for index, (expression, legend) in enumerate(expressions)
        ]  # fmt: skip
        panel: dict[str, Any] = {
            "id": number, "title": title, "type": kind, "datasource": SOURCE, "targets": targets,
            "gridPos": {"x": x, "y": y, "w": width, "h": height},
            "fieldConfig": {"defaults": {"unit": unit}, "overrides": []},
            "options": {},
        }  # fmt: skip
        if kind == "table":
            panel["transformations"] = _one_row_for_each_device(expressions)
            panel["fieldConfig"]["overrides"] = [
                _of_column("up", "unit", "s"),
                _of_column("healthy", "mappings", YES_NO),
            ]
        made.append(panel)
        x += width
    return made


def dashboard() -> dict[str, Any]:
    source = {"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus"}
    return {
        "title": "parleyd", "uid": "parleyd-fleet", "tags": ["parleyd"], "schemaVersion": 39, "version": 1,
        "editable": True, "refresh": "30s", "timezone": "browser", "time": {"from": "now-24h", "to": "now"},
        "templating": {"list": [source]}, "annotations": {"list": []}, "panels": panels(),
    }  # fmt: skip


def expressions() -> list[str]:
    """As Grafana sends them, for a rate over the last minute."""
    return [one.replace("$__rate_interval", "1m") for *_, several in PANELS for one, _ in several]


def main() -> int:
    text = json.dumps(dashboard(), indent=1) + "\n"
    match sys.argv[1:]:
        case []:
            print(text, end="")
        case ["--expressions"]:
            print("\n".join(expressions()))
        case ["--check"]:
            if (Path(__file__).parent / "dashboard.json").read_text() != text:
                print("dashboard.json is not what dashboard.py makes: dashboard.py > dashboard.json", file=sys.stderr)
                return 1
        case _:
            print(__doc__, file=sys.stderr)
            return 64
    return 0


if __name__ == "__main__":
    sys.exit(main())
