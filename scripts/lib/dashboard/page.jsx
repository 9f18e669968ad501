// One page with the panels of the dashboard, drawn by Grafana's own components from the answers of fleet.asked. What a panel
// of Grafana's server does around them (the dashboard's keys to the components' properties) is done here in a few lines.
import { createRoot } from "react-dom/client";
import {
  applyFieldOverrides, cacheFieldDisplayNames, createTheme, dateTime, EventBusSrv, FieldType, getDisplayProcessor,
  getFieldDisplayValues, standardFieldConfigEditorRegistry, standardTransformers, standardTransformersRegistry,
  ThemeContext, toDataFrame, transformDataFrame,
} from "@grafana/data";
import { initPluginTranslations } from "@grafana/i18n";
import { BigValue, GlobalStyles, PanelChrome, PanelContextProvider, TimeSeries } from "@grafana/ui";
import { TableNG } from "@grafana/ui/unstable";
import { lastValueFrom } from "rxjs";

const { dashboard, answers, width_px, from_s, to_s, prometheus, version } = window.answers;
const theme = createTheme({ colors: { mode: "light" } });
const GAP = 8, ROW = 30, COLUMN = width_px / 24;
const replaceVariables = (text) => text;
const range = { from: dateTime(from_s * 1000), to: dateTime(to_s * 1000), raw: { from: "now-24h", to: "now" } };

// Grafana's server registers these; each key is taken from the dashboard as it stands.
const KEYS = ["unit", "min", "max", "decimals", "mappings", "thresholds", "color", "displayName", "noValue"];
standardFieldConfigEditorRegistry.setInit(() => KEYS.map((id) => ({
  id, path: id, name: id, override: null, editor: null, settings: {}, process: (value) => value, shouldApply: () => true,
})));
const transformers = new Map(Object.values(standardTransformers).map((one) => [one.id, one]));
standardTransformersRegistry.setInit(() =>
  [...transformers.values()].map((one) => ({ id: one.id, name: one.name, transformation: async () => one })));

// As the server's data source names a series: by its legend, in which a label that is missing is empty.
function named({ legend, labels }) {
  if (legend !== "__auto") return legend.replace(/\{\{\s*(\S+?)\s*\}\}/g, (_, label) => labels[label] ?? "");
  const text = Object.entries(labels).map(([name, value]) => `${name}="${value}"`).join(", ");
  return text && `{${text}}`;
}

function series(panel) {
  return answers[panel.id].map((one) => {
    const at = new Map(one.times_s.map((time, index) => [time, one.values[index]]));
    const times = [];
    if (one.times_s.length > 1)
      for (let time = Math.floor(from_s / one.step_s) * one.step_s; time <= to_s; time += one.step_s) times.push(time);
    else times.push(...one.times_s);
    return toDataFrame({ refId: one.refId, fields: [
      { name: "Time", type: FieldType.time, values: times.map((time) => time * 1000), config: { interval: one.step_s * 1000 } },
      { name: "Value", type: FieldType.number, labels: one.labels, values: times.map((time) => at.get(time) ?? null),
        config: { displayNameFromDS: named(one) || undefined } },
    ] });
  });
}

// One frame for each query, with a column for each label.
async function table(panel) {
  const frames = panel.targets.map(({ refId }) => {
    const rows = answers[panel.id].filter((one) => one.refId === refId);
    const labels = [...new Set(rows.flatMap((one) => Object.keys(one.labels)))];
    const value = panel.targets.length > 1 ? `Value #${refId}` : "Value";
    return toDataFrame({ refId, fields: [
      { name: "Time", type: FieldType.time, values: rows.map((one) => one.times_s[0] * 1000) },
      ...labels.map((name) => ({ name, type: FieldType.string, values: rows.map((one) => one.labels[name]) })),
      { name: value, type: FieldType.number, values: rows.map((one) => one.values[0]) },
    ] });
  });
  return lastValueFrom(transformDataFrame(panel.transformations ?? [], frames));
}

function shown(panel, data) {
  const frames = applyFieldOverrides({ data, fieldConfig: panel.fieldConfig, replaceVariables, theme, timeZone: "utc" });
  const custom = { drawStyle: "line", lineInterpolation: "linear", lineWidth: 1, fillOpacity: 0, gradientMode: "none",
    showPoints: "auto", pointSize: 5, spanNulls: false, axisPlacement: "auto", axisBorderShow: false,
    axisColorMode: "text", stacking: { mode: "none", group: "A" }, thresholdsStyle: { mode: "off" },
    scaleDistribution: { type: "linear" }, hideFrom: { legend: false, tooltip: false, viz: false }, align: "auto",
    cellOptions: { type: "auto" }, ...panel.fieldConfig.defaults.custom };
  cacheFieldDisplayNames(frames);
  let index = 0;
  for (const frame of frames)
    for (const field of frame.fields) {
      if (panel.type === "timeseries" && field.type === FieldType.number)
        field.state = { ...field.state, seriesIndex: index++ };
      const own = panel.fieldConfig.overrides.filter((one) => one.matcher.options === field.state?.displayName)
        .flatMap((one) => one.properties).filter((one) => one.id.startsWith("custom."));
      field.config = { ...field.config, custom: { ...custom, ...Object.fromEntries(own.map((one) => [one.id.slice(7), one.value])) } };
      if (!field.config.color) field.config.color = { mode: panel.type === "timeseries" ? "palette-classic" : "thresholds" };
      field.display = getDisplayProcessor({ field, theme, timeZone: "utc" });
    }
  return frames;
}

function Stat({ panel, frames, width, height }) {
  const { reduceOptions, ...options } = panel.options;
  const values = getFieldDisplayValues({ fieldConfig: panel.fieldConfig, replaceVariables, theme, data: frames,
    reduceOptions: reduceOptions ?? { calcs: ["lastNotNull"] }, sparkline: options.graphMode === "area", timeZone: "utc" });
  return values.map(({ display }, index) => (
    <BigValue key={index} value={{ ...display, title: undefined }} width={width} height={height} theme={theme}
      graphMode={options.graphMode ?? "area"} colorMode={options.colorMode ?? "value"} />
  ));
}

const Panel = ({ panel, frames }) => {
  const { x, y, w, h } = panel.gridPos;
  const width = w * COLUMN - GAP, height = h * (ROW + GAP) - GAP;
  const empty = !frames.some((frame) => frame.length);
  const inner = (inside, high) => {
    if (empty) return <div className="empty" title={panel.title} style={{ padding: 16 }}>No data</div>;
    if (panel.type === "stat") return <Stat panel={panel} frames={frames} width={inside} height={high} />;
    if (panel.type === "table")
      return <TableNG data={frames[0]} width={inside} height={high} enableSharedCrosshair={false} noHeader={false} cellHeight="sm" />;
    const legend = { showLegend: true, displayMode: "list", placement: "bottom", calcs: [], ...panel.options.legend };
    return <TimeSeries frames={frames} width={inside} height={high} timeRange={range} timeZone="utc" theme={theme}
      structureRev={1} legend={legend} options={panel.options} />;
  };
  return (
    <div className="panel" style={{ position: "absolute", left: x * COLUMN + GAP / 2, top: y * (ROW + GAP), width, height }}>
      <PanelChrome title={panel.title} description={panel.description} width={width} height={height}>{inner}</PanelChrome>
    </div>
  );
};

async function main() {
  await initPluginTranslations("grafana", []);
  const drawn = [];
  for (const panel of dashboard.panels)
    drawn.push([panel, shown(panel, panel.type === "table" ? await table(panel) : series(panel))]);
  const height = Math.max(...dashboard.panels.map(({ gridPos }) => (gridPos.y + gridPos.h) * (ROW + GAP)));
  const told = `Drawn by Grafana's libraries @grafana/data and @grafana/ui ${version} in Chromium, not by a Grafana server; `
    + `invented devices, figures from Prometheus ${prometheus}`;
  createRoot(document.getElementById("root")).render(
    <ThemeContext.Provider value={theme}>
      <GlobalStyles />
      <PanelContextProvider value={{ eventBus: new EventBusSrv() }}>
        <div style={{ position: "relative", width: width_px, height }}>
          {drawn.map(([panel, frames]) => <Panel key={panel.id} panel={panel} frames={frames} />)}
        </div>
        <div data-height={height + 26} style={{ textAlign: "right", padding: "2px 8px 6px", fontSize: 12 }}>{told}</div>
      </PanelContextProvider>
    </ThemeContext.Provider>);
}
main().catch((error) => { document.body.textContent = `${error.stack}`; });
