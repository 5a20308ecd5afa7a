// What Grafana does with a dashboard and a Prometheus: variables, queries over a range of time, and the frames that panels read.

import { FieldType, rangeUtil } from "@grafana/data";

/** How often the recording was scraped; the data source of a Grafana beside it would be told. */
const SCRAPE_INTERVAL = "5s";
const LABEL_VALUES = /^label_values\((.+),\s*(\w+)\)$/s;

async function ask(path, parameters) {
  const response = await fetch(`/api/v1/${path}?${new URLSearchParams(parameters)}`);
  const answer = await response.json();
  if (answer.status !== "success") throw new Error(`${path}: ${answer.error}`);
  return answer.data;
}

/** `$name` and `${name}` replaced by their values. One that has none is a mistake of the dashboard, or more than is known here. */
export function interpolate(text, values) {
  return text.replace(/\$(?:\{(\w+)\}|(\w+))/g, (whole, braced, bare) => {
    const value = values[braced ?? bare];
    if (value === undefined) throw new Error(`the variable ${whole} of ${JSON.stringify(text)} has no value`);
    return value;
  });
}

/** The dashboard's variables, each with the value that was chosen, or else with the first of those that its query finds. */
export async function variables(dashboard, chosen, range) {
  const values = {};
  for (const variable of dashboard.templating.list) {
    if (variable.type === "datasource") continue;
    const [, selector, label] = variable.query.query.match(LABEL_VALUES);
    const found = await ask(`label/${label}/values`, {
      "match[]": interpolate(selector, values),
      start: range.from.unix(),
      end: range.to.unix(),
    });
    const value = chosen[variable.name] ?? found[0];
    if (!found.includes(value)) throw new Error(`${variable.name} ${value} was not recorded, but ${found.join(", ")}`);
    values[variable.name] = value;
  }
  return values;
}

/** A frame for each series of each of a panel's queries, with as many points as the panel is wide, at most. */
export async function frames(panel, values, range, width) {
  const interval = rangeUtil.calculateInterval(range, width, SCRAPE_INTERVAL).intervalMs;
  const step = interval / 1000;
  const aligned = (time) => Math.floor(time.unix() / step) * step;
  const series = [];
  for (const target of panel.targets) {
    const { result } = await ask("query_range", {
      query: interpolate(target.expr, values),
      start: aligned(range.from),
      end: aligned(range.to),
      step,
    });
    for (const { metric, values: points } of result) {
      const name = target.legendFormat.replace(/\{\{\s*(\w+)\s*\}\}/g, (_, label) => metric[label] ?? "");
      series.push({
        name,
        refId: target.refId,
        length: points.length,
        fields: [
          // A gap is what is longer than the interval.
          { name: "Time", type: FieldType.time, config: { interval }, values: points.map(([time]) => time * 1000) },
          {
            name: "Value",
            type: FieldType.number,
            labels: metric,
            config: { displayNameFromDS: name },
            values: points.map(([, value]) => (Number.isFinite(Number(value)) ? Number(value) : null)),
          },
        ],
      });
    }
  }
  return series;
}

export const hasData = (series) => series.some(({ fields }) => fields[1].values.some((value) => value !== null));
