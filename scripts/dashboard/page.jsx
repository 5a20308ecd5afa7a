// The dashboard, drawn by Grafana's own components in the places that its JSON names. `draw` is called by main.mjs.

import "@fontsource/inter/latin-400.css";
import "@fontsource/inter/latin-500.css";

import {
  applyFieldOverrides,
  createTheme,
  dateTime,
  dateTimeFormat,
  getFieldDisplayValues,
  Registry,
  ThresholdsMode,
  ThemeContext,
} from "@grafana/data";
import { BigValue, GlobalStyles, PanelChrome, TimeSeries } from "@grafana/ui";
import { createRoot } from "react-dom/client";

import { frames, hasData, variables } from "./queries.js";

// Grafana's grid: 24 columns, rows of 30 px, 8 px between them.
const COLUMNS = 24;
const ROW = 30;
const GAP = 8;

const theme = createTheme({ colors: { mode: "dark" } });

/** What Grafana takes where a dashboard says nothing (its panels' defaults). */
const DEFAULTS = {
  stat: {
    thresholds: {
      mode: ThresholdsMode.Absolute,
      steps: [
        { value: -Infinity, color: "green" },
        { value: 80, color: "red" },
      ],
    },
  },
  timeseries: {
    color: { mode: "palette-classic" },
    custom: { drawStyle: "line", lineInterpolation: "linear", axisGridShow: true },
  },
};

/** Properties that a dashboard may set for all series of a panel, or for some. */
const properties = new Registry(() => {
  const property = (id, isCustom) => ({
    id: isCustom ? `custom.${id}` : id,
    path: id,
    name: id,
    isCustom,
    process: (value) => value,
    shouldApply: () => true,
  });
  const standard = ["unit", "min", "max", "decimals", "displayName", "color", "thresholds", "mappings", "noValue"];
  const custom = [
    "drawStyle",
    "lineInterpolation",
    "lineWidth",
    "lineStyle",
    "fillOpacity",
    "gradientMode",
    "showPoints",
    "pointSize",
    "spanNulls",
    "stacking",
    "axisGridShow",
    "axisLabel",
    "axisPlacement",
    "axisSoftMin",
    "axisSoftMax",
    "scaleDistribution",
    "thresholdsStyle",
  ];
  return [...standard.map((id) => property(id, false)), ...custom.map((id) => property(id, true))];
});

const replaceVariables = (text) => text;
const DRAWN = { stat: Stat, timeseries: Graph };

function Stat({ panel, fieldConfig, series, range, width, height }) {
  const { reduceOptions, colorMode, graphMode, textMode } = panel.options;
  const [{ display, sparkline }] = getFieldDisplayValues({
    fieldConfig,
    reduceOptions,
    replaceVariables,
    theme,
    data: series,
    sparkline: graphMode !== "none",
    timeZone: "utc",
  });
  if (sparkline) sparkline.timeRange = range;
  return <BigValue {...{ value: display, sparkline, colorMode, graphMode, textMode, theme, width, height }} count={1} />;
}

function Graph({ panel, series, range, width, height }) {
  const { legend } = panel.options;
  return <TimeSeries {...{ frames: series, timeRange: range, legend: { calcs: [], ...legend }, width, height }} timeZone="utc" />;
}

function Panel({ panel, place, data, range }) {
  const Drawn = DRAWN[panel.type];
  const defaults = DEFAULTS[panel.type];
  const fieldConfig = {
    overrides: panel.fieldConfig.overrides,
    defaults: {
      ...defaults,
      ...panel.fieldConfig.defaults,
      custom: { ...defaults.custom, ...panel.fieldConfig.defaults.custom },
    },
  };
  const series = applyFieldOverrides({ data, fieldConfig, fieldConfigRegistry: properties, replaceVariables, theme, timeZone: "utc" });
  const padding = panel.type === "stat" ? "none" : "md";
  return (
    <div style={{ position: "absolute", ...place }}>
      <PanelChrome title={panel.title} description={panel.description} padding={padding} width={place.width} height={place.height}>
        {(width, height) =>
          hasData(data) ? (
            <Drawn {...{ panel, fieldConfig, series, range, width, height }} />
          ) : (
            <div className="nothing" style={{ width, height }}>
              No data
            </div>
          )
        }
      </PanelChrome>
    </div>
  );
}

function Header({ dashboard, values, range }) {
  const time = (at) => dateTimeFormat(at, { timeZone: "utc", format: "YYYY-MM-DD HH:mm:ss" });
  return (
    <header>
      <h1>{dashboard.title}</h1>
      {dashboard.templating.list
        .filter(({ name }) => values[name] !== undefined)
        .map(({ name, label }) => (
          <span className="variable" key={name}>
            <b>{label}</b>
            <span>{values[name]}</span>
          </span>
        ))}
      <span className="variable range">
        <span>
          {time(range.from)} to {time(range.to)}
        </span>
        <b>UTC</b>
      </span>
    </header>
  );
}

/** Where a panel's `gridPos` is on a page of this width. */
function placed({ x, y, w, h }, width) {
  const column = (width - GAP * (COLUMNS - 1)) / COLUMNS;
  return {
    left: Math.round(x * (column + GAP)),
    top: y * (ROW + GAP),
    width: Math.round(w * column + (w - 1) * GAP),
    height: h * ROW + (h - 1) * GAP,
  };
}

/** Draws it, and answers with the titles of the panels that have no data. */
window.draw = async ({ dashboard, chosen, from, to, width }) => {
  const range = { from: dateTime(from), to: dateTime(to) };
  range.raw = { from: range.from, to: range.to };
  const values = await variables(dashboard, chosen, range);
  const panels = await Promise.all(
    dashboard.panels.map(async (panel) => {
      if (!DRAWN[panel.type]) throw new Error(`${panel.title}: panels of type ${panel.type} cannot be drawn here`);
      const place = placed(panel.gridPos, width);
      return { panel, place, data: await frames(panel, values, range, place.width) };
    }),
  );
  // Sizes of text are measured before it is drawn.
  await Promise.all(["400 14px Inter", "500 14px Inter"].map((font) => document.fonts.load(font)));
  const height = Math.max(...panels.map(({ place }) => place.top + place.height));
  createRoot(document.getElementById("root")).render(
    <ThemeContext.Provider value={theme}>
      <GlobalStyles />
      <Header {...{ dashboard, values, range }} />
      <main style={{ position: "relative", width, height }}>
        {panels.map((each) => (
          <Panel key={each.panel.id} range={range} {...each} />
        ))}
      </main>
    </ThemeContext.Provider>,
  );
  return panels.filter(({ data }) => !hasData(data)).map(({ panel }) => panel.title);
};
