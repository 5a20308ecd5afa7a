// Has page.jsx draw the dashboard in Chromium from what a Prometheus serves, and takes the picture; scripts/dashboard.sh names all of them.

import { readFile, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

import { build } from "esbuild";
import { chromium } from "playwright-core";

const HERE = path.dirname(fileURLToPath(import.meta.url));
const DASHBOARD = path.join(HERE, "../../charts/folkmoot/dashboards/folkmoot.json");
const ICONS = path.join(path.dirname(createRequire(import.meta.url).resolve("@grafana/ui/package.json")), "dist/public");
const WIDTH = 1600;
const MARGIN = 16;
/** How much is shown before the first socket. */
const BEFORE_S = 60;

const { values: options, positionals } = parseArgs({
  options: { namespace: { type: "string" }, from: { type: "string" }, to: { type: "string" } },
  allowPositionals: true,
});
const [prometheus, picture] = positionals;

/** When the first socket was there, and when the chat's last gateway, in seconds: of all that was recorded of a namespace. */
async function busy(namespace) {
  const query = `folkmoot_gateway_connections{namespace="${namespace}"}[20y]`;
  const response = await fetch(`${prometheus}/api/v1/query?${new URLSearchParams({ query })}`);
  const { status, error, data } = await response.json();
  if (status !== "success") throw new Error(`${query}: ${error}`);
  const samples = data.result.flatMap(({ values }) => values.map(([time, sockets]) => ({ time, sockets: Number(sockets) })));
  const first = samples.filter(({ sockets }) => sockets > 0).reduce((least, { time }) => Math.min(least, time), Infinity);
  if (first === Infinity) throw new Error(`no sockets were recorded in the namespace ${namespace}`);
  return { first, last: samples.reduce((most, { time }) => Math.max(most, time), first) };
}

/** page.jsx with all that it needs, as files by name. */
async function bundled() {
  const { outputFiles } = await build({
    entryPoints: [path.join(HERE, "page.jsx")],
    outdir: "/",
    write: false,
    bundle: true,
    // What Grafana loads later, such as an editor, stays out of the way.
    splitting: true,
    format: "esm",
    jsx: "automatic",
    minify: true,
    define: { "process.env.NODE_ENV": '"production"' },
    loader: { ".woff2": "dataurl", ".woff": "empty", ".ttf": "empty" },
    logLevel: "error",
  });
  return new Map(outputFiles.map((file) => [path.basename(file.path), Buffer.from(file.contents)]));
}

/** The page's files, where Prometheus itself has none: so the page may ask it. */
async function serve(page, files) {
  await page.route(`${prometheus}/page/**`, async (route) => {
    const name = new URL(route.request().url()).pathname.slice("/page/".length);
    const icon = name.match(/^public\/build\/(img\/icons\/[\w/-]+\.svg)$/);
    const body = icon ? await readFile(path.join(ICONS, icon[1])) : (files.get(name) ?? (await readFile(path.join(HERE, "page.html"))));
    const contentType = { ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml" }[path.extname(name)] ?? "text/html";
    await route.fulfill({ body, contentType });
  });
}

const { first, last } = await busy(options.namespace);
const time = (given, otherwise) => (given ? Date.parse(given) : otherwise * 1000);
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM_BIN,
  args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});
try {
  const page = await browser.newPage({ viewport: { width: WIDTH, height: 1000 }, locale: "en-GB", timezoneId: "UTC" });
  const problems = [];
  page.on("pageerror", (error) => problems.push(`uncaught: ${error.stack}`));
  page.on("console", (message) => {
    if (message.type() === "error") problems.push(message.text());
  });
  await serve(page, await bundled());
  await page.goto(`${prometheus}/page/`);
  await page.waitForFunction(() => window.draw);
  const empty = await page.evaluate((what) => window.draw(what), {
    dashboard: JSON.parse(await readFile(DASHBOARD, "utf8")),
    chosen: { namespace: options.namespace },
    from: time(options.from, first - BEFORE_S),
    to: time(options.to, last),
    width: WIDTH - 2 * MARGIN,
  });
  await page.waitForLoadState("networkidle");
  // Every canvas has been painted two frames later.
  await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
  const drawn = await page.screenshot({ fullPage: true });
  problems.push(...empty.map((title) => `the panel "${title}" has no data`));
  for (const problem of problems) console.error(`error: ${problem}`);
  if (problems.length > 0) process.exitCode = 1;
  else await writeFile(picture, drawn);
} finally {
  await browser.close();
}
