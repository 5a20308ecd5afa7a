// Takes the README's pictures from the real server: docs/images/web-desktop.png and web-phone.png.

import { randomUUID } from "node:crypto";
import { mkdir } from "node:fs/promises";
import { fileURLToPath } from "node:url";

import { Person, launch } from "./lib/browser.mjs";
import { Server } from "./lib/server.mjs";
import { hills } from "./lib/png.mjs";

const PASSWORD = "correct horse battery staple";
const IMAGES = fileURLToPath(new URL("../docs/images/", import.meta.url));

const server = await Server.create("--no-demo");
const browser = await launch();
try {
  await mkdir(IMAGES, { recursive: true });
  await pictures();
} finally {
  await browser.close();
  await server.dispose();
}

async function pictures() {
  const team = {};
  for (const [handle, name] of [["ada", "Ada Lovelace"], ["grace", "Grace Hopper"], ["katherine", "Katherine Johnson"], ["alan", "Alan Turing"]]) {
    const { access_token: token, user } = await server.register(handle, PASSWORD, name);
    team[handle] = { token, id: user.id };
  }
  const { ada, grace, katherine, alan } = team;
  const as = (who, method, path, body, headers) => server.request(method, path, { token: who.token, body, headers });
  const say = (who, channel, text) =>
    as(who, "POST", `/v1/channels/${channel.id}/messages`, { text }, { "idempotency-key": randomUUID() });
  const channel = (name, topic, kind = "public") =>
    as(ada, "POST", "/v1/channels", { kind, name, topic, members: [grace.id, katherine.id, alan.id] });

  const deploys = await channel("deploys", "What goes out, and when");
  const design = await channel("design-review", "Drafts welcome, Thursdays at ten");
  const incident = await channel("incident-417", "Only who is on call", "private");
  const lobby = await channel("lobby", "Say hello, plan lunch");
  const direct = await as(ada, "POST", "/v1/dms", { users: [grace.id] });
  await as(ada, "POST", "/v1/dms", { users: [alan.id] });

  const people = {};
  for (const [handle, device] of [["ada", "desktop"], ["grace", "phone"], ["katherine", "desktop"]]) {
    people[handle] = await Person.arrive(browser, server.url, device);
    await people[handle].signIn(handle, PASSWORD);
  }
  // What is there so far is read; what comes now is news.
  for (const name of ["lobby", "incident-417", "design-review", "deploys"]) {
    for (const person of Object.values(people)) {
      await person.open(name);
      await person.channel(name).locator(".badge").waitFor({ state: "detached" });
    }
  }

  await say(grace, deploys, "Morning! The **gateway** roll-out starts at ten. Nobody should notice a thing.");
  await say(katherine, deploys, "Watching the numbers. Delivery is at `p99 = 18 ms`, flat since Tuesday.");
  await say(ada, deploys, "Pulled the plug on one node to be sure:\n```\n$ kubectl delete pod gateway-2 --force\nlost=0 duplicated=0 out_of_order=0\n```");
  await say(grace, deploys, "Not a single retry on my side. That is what I call dull.");
  const { page } = people.katherine;
  await people.katherine.attach({ name: "sunrise-from-the-office.png", mimeType: "image/png", buffer: hills(780, 540) });
  await page.locator(".chip.done").waitFor();
  await people.katherine.write("Dull is good. Sunrise from the office, for those at home:");
  await people.ada.message("Dull is good").locator(".thumb img").waitFor();
  await say(alan, incident, "Closed: it was the clock.");
  await say(alan, lobby, "Lunch at noon?");
  await say(grace, lobby, "Yes please");
  await say(grace, direct, "Do you have a minute?");
  await people.ada.write("Beautiful. I'll write it up in the [runbook](https://example.com/runbook) this afternoon.");
  await people.ada.message("Beautiful").locator(".state.sent").waitFor();
  await people.grace.message("Beautiful").waitFor();
  await people.grace.message("Dull is good").locator(".thumb img").waitFor();
  for (const name of ["lobby", "incident-417"]) await people.ada.channel(name).locator(".badge").waitFor();
  await people.katherine.composer.pressSequentially("Please");
  for (const person of [people.ada, people.grace]) {
    await person.page.locator(".typing", { hasText: "Katherine" }).waitFor();
    await person.message("Dull is good").locator(".dot.online").waitFor();
    await person.page.mouse.move(700, 20);
    await person.page.screenshot({ path: `${IMAGES}web-${person.device}.png`, animations: "disabled" });
  }
}
