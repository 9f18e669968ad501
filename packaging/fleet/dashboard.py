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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SOURCE = {"type": "prometheus", "uid": "${source}"}
WIDTH = 24


def _quantile(share: float, name: str) -> str:
    return f"histogram_quantile({share}, sum by (le) (rate({name}_bucket[1h])))"


def _in_an_hour(counter: str) -> str:
    """Over a whole hour, whatever the range of the page: over Grafana's $__rate_interval, which is a minute or two, one
    session would be drawn as thirty an hour; and where Prometheus asks once a minute, as it does unless it is told
    otherwise, there would be no line at all on a page of a few hours."""
    return f"sum(increase({counter}[1h]))"


@dataclass(frozen=True)
class Panel:
    """expressions: each with its legend. unit: one of Grafana's. decimals: None leaves them to Grafana. colours: by
    legend, of the line and of the area below it. steps: the colours of a stat, each from a value on; without them
    Grafana has its own, which are red from 80 on. stacked: areas upon one another, for parts of a whole."""

    title: str
    kind: str
    unit: str
    width: int
    expressions: tuple[tuple[str, str], ...]
    description: str = ""
    decimals: int | None = None
    colours: tuple[tuple[str, str], ...] = ()
    steps: tuple[tuple[float | None, str], ...] = ((None, "text"),)
    stacked: bool = False


PANELS = (
    Panel("Devices", "stat", "none", 4, (("count(parleyd_build_info)", ""),), "Those that give figures now.", 0),
    Panel(
        "Healthy", "stat", "percentunit", 4, (("avg(parleyd_healthy)", ""),), "The share of them without a trouble.",
        steps=((None, "red"), (0.9, "orange"), (1, "green")),
    ),
    Panel("Muted", "stat", "none", 4, (("sum(parleyd_muted)", ""),), decimals=0),
    Panel("In a session", "stat", "none", 4, (('sum(parleyd_state{state="live"})', ""),), decimals=0),
    Panel("Session time today", "stat", "s", 4, (("sum(parleyd_today_session_seconds)", ""),), "Since midnight there."),
    Panel(
        "Cost today", "stat", "none", 4, (("sum(parleyd_today_cost)", ""),),
        "In budget.currency; amounts in different currencies would be added as they are.", 2,
    ),
    Panel(
        "Devices by version and provider", "timeseries", "none", 12,
        (("count by (version, provider) (parleyd_build_info)", "{{version}} {{provider}}"),),
        "The height of all areas is the number of devices.", 0, stacked=True,
    ),
    Panel(
        "Devices with a trouble", "timeseries", "none", 12,
        # Without any trouble the line is at 0 rather than missing. A device with two parts in trouble is one device.
        (
            ("count(max by (instance) (parleyd_trouble)) or vector(0)", "any part"),
            ("sum by (part) (parleyd_trouble)", "{{part}}"),
        ),
        decimals=0, colours=(("any part", "red"),),
    ),
    Panel(
        "End of speech to the first sound", "timeseries", "s", 12,
        (
            (_quantile(0.5, "parleyd_speech_to_sound_seconds"), "median"),
            (_quantile(0.9, "parleyd_speech_to_sound_seconds"), "90th percentile"),
        ),
        "Of the hour before each point; no line where nobody spoke.",
    ),
    Panel(
        "From waking to a session", "timeseries", "s", 12,
        (
            (_quantile(0.5, "parleyd_wake_to_live_seconds"), "median"),
            (_quantile(0.9, "parleyd_wake_to_live_seconds"), "90th percentile"),
        ),
        "Of the hour before each point; no line where there was no session.",
    ),
    Panel(
        "Sessions and failed tries per hour", "timeseries", "none", 12,
        (
            (_in_an_hour("parleyd_sessions_total"), "sessions"),
            (_in_an_hour("parleyd_failed_tries_total"), "failed tries"),
        ),
        "In the hour before each point, of all devices.", colours=(("failed tries", "red"),),
    ),
    Panel(
        "Speech that reached no agent per hour", "timeseries", "s", 12,
        ((_in_an_hour("parleyd_lost_speech_seconds_total"), "lost speech"),),
        "In the hour before each point, of all devices.", colours=(("lost speech", "red"),),
    ),
    Panel(
        "Holes in the sound per hour", "timeseries", "none", 12,
        (
            (_in_an_hour("parleyd_underruns_total"), "in an answer"),
            (_in_an_hour("parleyd_overflows_total"), "in the microphone's sound"),
        ),
        "In the hour before each point, of all devices.",
    ),
    Panel(
        "Memory of the daemon", "timeseries", "bytes", 12,
        (
            ("max(parleyd_resident_memory_bytes)", "device with the most"),
            ("avg(parleyd_resident_memory_bytes)", "mean"),
        ),
    ),
    Panel(
        # One row for each device. The legend names the column; without one only the labels are shown.
        "Each device", "table", "none", 24,
        (
            ("max by (instance, version, provider) (parleyd_build_info)", ""),
            ("max by (instance) (parleyd_settings_revision)", "settings revision"),
            ("max by (instance) (parleyd_healthy)", "healthy"),
            ("max by (instance) (parleyd_up_seconds)", "up"),
        ),
        "Those that give figures now.",
    ),
)  # fmt: skip


YES_NO = [
    {
        "type": "value",
        "options": {
            "1": {"text": "yes", "color": "green", "index": 0},
            "0": {"text": "no", "color": "red", "index": 1},
        },
    }
]


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


def _of(name: str, **properties: object) -> dict[str, Any]:
    """Properties of one column or line."""
    made = [{"id": key.replace("__", "."), "value": value} for key, value in properties.items()]
    return {"matcher": {"id": "byName", "options": name}, "properties": made}


def _defaults(panel: Panel) -> dict[str, Any]:
    made: dict[str, Any] = {"unit": panel.unit}
    if panel.decimals is not None:
        made["decimals"] = panel.decimals
    if panel.kind == "stat":
        steps = [{"color": colour, "value": value} for value, colour in panel.steps]
        made |= {"color": {"mode": "thresholds"}, "thresholds": {"mode": "absolute", "steps": steps}}
    if panel.kind == "timeseries":
        custom: dict[str, Any] = {"lineWidth": 2}
        if panel.stacked:
            custom = {"lineWidth": 1, "fillOpacity": 30, "stacking": {"mode": "normal", "group": "A"}}
        made |= {"min": 0, "custom": custom}
    return made


def _options(panel: Panel) -> dict[str, Any]:
    if panel.kind == "stat":
        reduced = {"calcs": ["lastNotNull"], "fields": "", "values": False}
        return {"reduceOptions": reduced, "graphMode": "none", "colorMode": "value"}
    if panel.kind == "timeseries":
        return {
            "legend": {"showLegend": True, "displayMode": "list", "placement": "bottom", "calcs": []},
            "tooltip": {"mode": "multi", "sort": "desc"},
        }
    return {}


def panels() -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []
    x = y = 0
    for number, panel in enumerate(PANELS, 1):
        height = 4 if panel.kind == "stat" else 8
        if x + panel.width > WIDTH:
            x, y = 0, y + made[-1]["gridPos"]["h"]
        # A stat of a range would go on showing its last value where no device gives figures any more.
        at_once = {"stat": {"instant": True}, "table": {"format": "table", "instant": True}}
        targets = [
            {
                "datasource": SOURCE, "expr": expression, "legendFormat": legend or "__auto", "refId": chr(65 + index),
                **at_once.get(panel.kind, {}),
            }
            for index, (expression, legend) in enumerate(panel.expressions)
        ]  # fmt: skip
        fixed = [
            _of(name, color={"mode": "fixed", "fixedColor": colour}, custom__fillOpacity=15)
            for name, colour in panel.colours
        ]
        one: dict[str, Any] = {
            "id": number, "title": panel.title, "type": panel.kind, "datasource": SOURCE, "targets": targets,
            "gridPos": {"x": x, "y": y, "w": panel.width, "h": height},
            "fieldConfig": {"defaults": _defaults(panel), "overrides": fixed},
            "options": _options(panel),
        }  # fmt: skip
        if panel.description:
            one["description"] = panel.description
        if panel.kind == "table":
            one["transformations"] = _one_row_for_each_device(panel.expressions)
            one["fieldConfig"]["overrides"] = [
                _of("up", unit="s"),
                _of("healthy", mappings=YES_NO, custom__cellOptions={"type": "color-text"}),
            ]
        made.append(one)
        x += panel.width
    return made


def dashboard() -> dict[str, Any]:
    source = {"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus"}
    return {
        "title": "parleyd", "uid": "parleyd-fleet", "tags": ["parleyd"], "schemaVersion": 39, "version": 1,
        "editable": True, "refresh": "30s", "timezone": "browser", "time": {"from": "now-24h", "to": "now"},
        "templating": {"list": [source]}, "annotations": {"list": []}, "panels": panels(),
    }  # fmt: skip


def expressions() -> list[str]:
    return [one for panel in PANELS for one, _ in panel.expressions]


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
