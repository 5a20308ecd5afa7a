// The pictures of README.md: a small conversation in Chromium, against a server that scripts/screenshots.sh names.

import { randomUUID } from "node:crypto";
import { fileURLToPath } from "node:url";

import { Person, launch, until } from "../web-tests/lib/browser.mjs";
import { hills } from "../web-tests/lib/png.mjs";
import { Server } from "../web-tests/lib/server.mjs";

const PASSWORD = "correct horse battery staple";
const IMAGES = fileURLToPath(new URL("../docs/images/", import.meta.url));

const PEOPLE = { ada: "Ada Lovelace", grace: "Grace Hopper", linus: "Linus Pauling", mary: "Mary Somerville" };
const TALK = [
  ["grace", "The new gateways are in. **Nobody noticed**, which is the point."],
  ["linus", "I killed one of them under load for the fun of it:"],
  ["linus", "```\nsent 6000, acked 6000, lost 0, duplicated 0\n```"],
  ["ada", "So we can roll out in the daytime from now on?"],
  ["grace", "We can. Clients get `reconnect`, come back within seconds and resume where they were."],
  ["mary", "Then the evening is ours. View from the roof right now:", "roof.png"],
  ["ada", "On my way up ☕"],
];

const server = await Server.create("--no-demo");
const browser = await launch();
try {
  const tokens = {};
  const ids = {};
  for (const [handle, name] of Object.entries(PEOPLE)) {
    const answer = await server.register(handle, PASSWORD, name);
    tokens[handle] = answer.access_token;
    ids[handle] = answer.user.id;
  }
  const as = (handle, method, path, body, headers) =>
    server.request(method, path, { token: tokens[handle], body, headers });
  const send = async (handle, channel, text, file) => {
    const files = [];
    if (file) {
      const response = await fetch(`${server.url}/v1/files?channel=${channel}&name=${file}`, {
        method: "POST",
        headers: { authorization: `Bearer ${tokens[handle]}` },
        body: hills(480, 300),
      });
      if (!response.ok) throw new Error(`upload: ${response.status} ${await response.text()}`);
      files.push((await response.json()).id);
    }
    const key = { "idempotency-key": randomUUID() };
    return as(handle, "POST", `/v1/channels/${channel}/messages`, { text, files }, key);
  };

  const others = ["grace", "linus", "mary"].map((handle) => ids[handle]);
  const channels = {};
  for (const [kind, name, topic] of [
    ["public", "general", "What everybody should know"],
    ["public", "platform", "Gateways, stores and the people who feed them"],
    ["public", "random", "Everything else"],
    ["private", "on-call", "Who carries the pager"],
  ]) {
    channels[name] = (await as("ada", "POST", "/v1/channels", { kind, name, topic, members: others })).id;
  }
  const direct = (await as("grace", "POST", "/v1/dms", { users: [ids.ada] })).id;
  for (const [handle, text, file] of TALK) await send(handle, channels.platform, text, file);
  await send("linus", channels.random, "Who took the good kettle?");
  await send("mary", channels.random, "It moved to the second floor.");
  await send("grace", direct, "Lunch at noon?");

  const present = [];
  for (const handle of ["grace", "mary"]) {
    const person = await Person.arrive(browser, server.url, "desktop");
    await person.signIn(handle, PASSWORD);
    present.push(person);
  }
  for (const device of ["desktop", "phone"]) {
    const ada = await Person.arrive(browser, server.url, device);
    await ada.signIn("ada", PASSWORD);
    await ada.open("platform");
    await until(
      "the picture is drawn",
      () => ada.page.locator("#rows img").evaluateAll((all) => all.map((img) => img.complete && img.naturalWidth > 0)),
      (drawn) => drawn.length > 0 && drawn.every(Boolean),
    );
    await ada.page.mouse.move(0, 0);
    await ada.page.screenshot({ path: `${IMAGES}web-${device}.png`, animations: "disabled" });
    await ada.context.close();
  }
} finally {
  await browser.close();
  await server.dispose();
}
