// The client in Chromium against the real server: two people on phones, then on desktops.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, test } from "node:test";

import { DEVICES, Person, launch, until } from "./lib/browser.mjs";
import { Server } from "./lib/server.mjs";
import { hills } from "./lib/png.mjs";

const PASSWORD = "correct horse battery staple";
const TEST_MS = 180_000;
let server;
let browser;

before(async () => {
  server = await Server.create();
  browser = await launch();
});

after(async () => {
  await browser?.close();
  await server?.dispose();
});

for (const device of Object.keys(DEVICES)) {
  test(`two people chat, ${device}`, { timeout: TEST_MS }, async (t) => {
    const channel = `planning-${device}`;
    const handles = [`frida-${device}`, `gustav-${device}`];
    const gustavTokens = await server.register(handles[1], PASSWORD, "Gustav Vigeland");
    const frida = await Person.arrive(browser, server.url, device);
    const gustav = await Person.arrive(browser, server.url, device);
    const both = [frida, gustav];
    t.after(() => Promise.all(both.map((person) => person.context.close())));

    // Each step needs the ones before it: after a failure the rest says so at once.
    let broken = null;
    const step = (name, work) =>
      t.test(name, async () => {
        assert.equal(broken, null, "an earlier step failed");
        broken = name;
        try {
          await work();
        } catch (error) {
          await Promise.all(both.map((person, i) => person.screenshot(`failed-${i + 1}`).catch(() => {})));
          for (const { problems } of both) if (problems.length) t.diagnostic(problems.join("\n"));
          throw error;
        }
        broken = null;
      });

    /** Both see exactly these newest texts, in this order. */
    const agree = (what, texts) =>
      until(
        what,
        () => Promise.all(both.map((person) => person.texts())),
        (seen) => seen.every((list) => JSON.stringify(list.slice(-texts.length)) === JSON.stringify(texts)),
      );

    await step("one creates an account, the other signs in", async () => {
      const { page } = frida;
      await frida.screenshot("sign-in");
      await page.getByRole("button", { name: "Create account" }).click();
      await page.getByLabel("Handle").fill(handles[0]);
      await page.getByLabel("Name to show").fill("Frida Kahlo");
      await page.getByLabel("Password").fill("short");
      await page.locator("#signin-submit").click();
      await page.getByRole("alert").filter({ hasText: "at least 8" }).waitFor();
      await page.getByLabel("Password").fill(PASSWORD);
      await page.locator("#signin-submit").click();
      await frida.online();

      gustav.expectRefusal = true;
      await gustav.page.getByLabel("Handle").fill(handles[1]);
      await gustav.page.getByLabel("Password").fill("not the password");
      await gustav.page.locator("#signin-submit").click();
      await gustav.page.getByRole("alert").filter({ hasText: "do not match" }).waitFor();
      gustav.expectRefusal = false;
      await gustav.signIn(handles[1], PASSWORD);
    });

    await step("one creates a channel, the other finds and joins it", async () => {
      await frida.page.getByRole("button", { name: "Browse or create channels" }).click();
      await frida.page.getByRole("button", { name: "Create a channel" }).click();
      await frida.page.getByLabel("Name", { exact: true }).fill(channel);
      await frida.page.getByLabel("Topic").fill("What we do next, and who does it");
      await frida.page.getByRole("button", { name: "Create channel", exact: true }).click();
      await frida.page.locator("#pane-header h1", { hasText: channel }).waitFor();

      await gustav.page.getByRole("button", { name: "Browse or create channels" }).click();
      await gustav.page.getByRole("button", { name: `Join ${channel}` }).click();
      await gustav.page.locator("#pane-header h1", { hasText: channel }).waitFor();
      await frida.page.locator(".note", { hasText: "Gustav Vigeland joined" }).waitFor();
    });

    await step("messages go both ways and say that they are sent", async () => {
      await frida.write("Good morning, Gustav!");
      await frida.message("Good morning").locator(".state.sent").waitFor({ state: "attached" });
      await gustav.message("Good morning").waitFor();
      await gustav.write("Good morning, Frida.");
      await agree("a short conversation", ["Good morning, Gustav!", "Good morning, Frida."]);
      assert.equal(await frida.message("Good morning, Frida.").locator(".state").count(), 0);
    });

    await step("who types is shown, and who is here", async () => {
      await gustav.composer.pressSequentially("thinking");
      await frida.page.locator(".typing", { hasText: "Gustav Vigeland is typing" }).waitFor();
      await gustav.composer.fill("");
      await frida.message("Good morning, Frida.").locator(".dot.online").waitFor();
    });

    await step("Markdown is rendered, markup is text", async () => {
      await frida.write("**Bold**, *slanted*, `code` and [a link](https://example.com/x)");
      const text = gustav.message("slanted").locator(".text");
      await text.waitFor();
      assert.equal(await text.locator("strong").innerText(), "Bold");
      assert.equal(await text.locator("em").innerText(), "slanted");
      assert.equal(await text.locator("code").innerText(), "code");
      const link = text.locator("a");
      assert.equal(await link.getAttribute("href"), "https://example.com/x");
      assert.match(await link.getAttribute("rel"), /noopener/);

      const attack = '<img src=x onerror="alert(1)"><script>alert(2)</script> [x](javascript:alert(3))';
      await gustav.write(attack);
      await agree("an attack as plain text", [attack]);
      assert.equal(await frida.page.locator("#rows img, #rows script, #rows a[href^=javascript]").count(), 0);

      await frida.composer.fill("```\nfn main() {\n    println!(\"moot\");\n}\n```");
      await frida.page.getByRole("button", { name: "Send", exact: true }).click();
      await gustav.page.locator("#rows pre", { hasText: "println" }).waitFor();
    });

    await step("edits and deletions reach everybody", async () => {
      await frida.write("We meet at nine");
      await gustav.message("We meet at nine").waitFor();
      await frida.choose("We meet at nine", "Edit");
      await frida.page.getByLabel("Edit the message").fill("We meet at ten");
      await frida.page.getByRole("button", { name: "Save" }).click();
      await gustav.message("We meet at ten").locator(".edited").waitFor();
      assert.equal(await gustav.message("We meet at nine").count(), 0);

      await gustav.write("This was a mistake");
      await frida.message("This was a mistake").waitFor();
      await gustav.choose("This was a mistake", "Delete");
      await gustav.page.getByRole("button", { name: "Delete", exact: true }).click();
      await frida.page.locator(".gone").waitFor();
      await gustav.page.locator(".gone").waitFor();
      assert.equal(await frida.message("This was a mistake").count(), 0);
    });

    await step("reactions stand under their message, and each click adds one or takes it back", async () => {
      const soup = "There is soup";
      const shown = (what, fridas, gustavs) =>
        until(what, () => Promise.all(both.map((person) => person.reactions(soup))), (seen) => JSON.stringify(seen) === JSON.stringify([fridas, gustavs]));
      await frida.write(soup);
      await gustav.message(soup).waitFor();
      await gustav.react(soup, "thumbs up");
      await shown("one has reacted", ["👍 1"], ["👍 1*"]);
      const thumb = (person) => person.message(soup).locator(".reaction").first();
      assert.equal(await thumb(frida).getAttribute("title"), "Gustav Vigeland reacted with 👍");
      await thumb(frida).click();
      await frida.react(soup, "celebration");
      await shown("both have reacted", ["👍 2*", "🎉 1*"], ["👍 2*", "🎉 1"]);
      assert.equal(await thumb(frida).getAttribute("aria-label"), "👍 2, You and Gustav Vigeland");
      await frida.screenshot("reactions");
      await gustav.message(soup).hover();
      await gustav.message(soup).getByRole("button", { name: "React", exact: true }).click();
      const palette = await gustav.page.getByRole("menuitem").evaluateAll((all) => all.map((button) => button.getBoundingClientRect()));
      assert.equal(new Set(palette.map(({ top }) => top)).size, 2, "two rows of six");
      assert.ok(palette.every(({ width, height }) => width >= 40 && height >= 40), "a finger finds them");
      await gustav.page.keyboard.press("Escape");
      // Where a finger meets the one button, it does not meet the other.
      const [react, more] = await gustav.message(soup).locator(".menu-button").evaluateAll((all) =>
        all.map((button) => {
          const { left, right } = button.getBoundingClientRect();
          const style = getComputedStyle(button, "::after");
          return { left: left + parseFloat(style.left), right: right - parseFloat(style.right) };
        }),
      );
      assert.ok(react.right <= more.left, JSON.stringify([react, more]));

      // Side by side, and what is one's own looks so.
      const [own, other] = await gustav.message(soup).locator(".reaction").evaluateAll((all) =>
        all.map((button) => {
          const { top, left, right, height } = button.getBoundingClientRect();
          const { borderTopColor, backgroundColor, borderTopLeftRadius } = getComputedStyle(button);
          return { top, left, right, height, look: [borderTopColor, backgroundColor], radius: parseFloat(borderTopLeftRadius) };
        }),
      );
      assert.equal(own.top, other.top);
      assert.ok(other.left > own.right && other.left < own.right + 10, "a gap that is seen");
      assert.ok(own.height >= (device === "phone" ? 32 : 24), "a finger finds it");
      assert.ok(own.radius >= own.height / 2 - 1, "round at both ends");
      assert.ok(own.look.every((colour, i) => colour !== other.look[i]), JSON.stringify([own.look, other.look]));

      await thumb(gustav).click();
      await gustav.react(soup, "celebration");
      await shown("one was taken back", ["👍 1*", "🎉 2*"], ["👍 1", "🎉 2*"]);
      assert.equal(await gustav.message(soup).locator(".state.queued, .failure").count(), 0);

      await frida.choose(soup, "Delete");
      await frida.page.getByRole("button", { name: "Delete", exact: true }).click();
      for (const person of both) await person.page.locator(".gone").nth(1).waitFor();
      for (const person of both) assert.equal(await person.page.locator(".reaction").count(), 0, "a deleted message has none");
    });

    await step("a reaction that is refused says why", async () => {
      await frida.write("A popular message");
      await gustav.message("A popular message").waitFor();
      const token = gustavTokens.access_token;
      const { items } = await server.request("GET", "/v1/channels?limit=200", { token });
      const { id } = items.find((item) => item.name === channel);
      const [{ seq }] = (await server.request("GET", `/v1/channels/${id}/messages?limit=1`, { token })).items;
      // As many as one person may have on one message.
      for (const emoji of ["🍎", "🍐", "🍊", "🍋", "🍌", "🍉", "🍇", "🍓", "#️⃣", Array(10).fill("⭐").join("\u200d")]) {
        const path = `/v1/channels/${id}/messages/${seq}/reactions/${encodeURIComponent(emoji)}`;
        await server.request("PUT", path, { token, headers: { "idempotency-key": randomUUID() } });
      }
      await gustav.message("A popular message").locator(".reaction").nth(9).waitFor();
      await gustav.react("A popular message", "rocket");
      const failure = gustav.message("A popular message").locator(".failure");
      await failure.filter({ hasText: "No reaction: there are too many already" }).waitFor();
      await failure.getByRole("button", { name: "Discard" }).click();
      await failure.waitFor({ state: "detached" });
      assert.equal((await gustav.reactions("A popular message")).length, 10);
      const overflow = await gustav.page.locator("#rows").evaluate((rows) => rows.scrollWidth - rows.clientWidth);
      assert.equal(overflow, 0, "ten of them find their place");
      const widths = await gustav.message("A popular message").locator(".reaction").evaluateAll((all) => all.map((button) => button.offsetWidth));
      assert.ok(Math.max(...widths) < 200, `a word is cut off: ${widths}`);
    });

    await step("in an archived channel reactions stand, and nobody adds to them", async () => {
      const token = gustavTokens.access_token;
      const name = `shelf-${device}`;
      const { id } = await server.request("POST", "/v1/channels", { token, body: { kind: "private", name } });
      const headers = () => ({ "idempotency-key": randomUUID() });
      const { seq } = await server.request("POST", `/v1/channels/${id}/messages`, { token, headers: headers(), body: { text: "On the shelf" } });
      const reactions = `/v1/channels/${id}/messages/${seq}/reactions`;
      await server.request("PUT", `${reactions}/${encodeURIComponent("📚")}`, { token, headers: headers() });
      await gustav.open(name);
      const message = gustav.message("On the shelf");
      const button = message.locator(".reaction");
      await button.waitFor();
      assert.equal(await message.getByRole("button", { name: "React", exact: true }).count(), 1);

      await server.request("PATCH", `/v1/channels/${id}`, { token, body: { archived: true } });
      await message.locator('.reaction[aria-disabled="true"]').waitFor();
      assert.equal(await message.getByRole("button", { name: "React", exact: true }).count(), 0);
      // A click would be shown at once, before the server has refused it.
      await button.click({ force: true });
      assert.deepEqual(await gustav.reactions("On the shelf"), ["📚 1*"]);
      assert.equal(await message.locator(".waiting, .failure").count(), 0);
      await gustav.open(channel);
    });

    await step("files and pictures are uploaded, seen and fetched", async () => {
      const notes = { name: "notes <b>.txt", mimeType: "text/plain", buffer: Buffer.from("buy bread\n".repeat(100)) };
      await frida.attach(notes, { name: "hills.png", mimeType: "image/png", buffer: hills(640, 420) });
      await frida.page.locator(".chip.done").nth(1).waitFor();
      await frida.write("The view from here");
      const message = gustav.message("The view from here");
      const picture = message.locator(".thumb img");
      await picture.waitFor();
      await until("the picture is drawn", () => picture.evaluate((img) => img.naturalWidth), (width) => width === 640);
      const download = gustav.page.waitForEvent("download");
      await message.locator(".file").click();
      const stream = await (await download).createReadStream();
      const parts = await stream.toArray();
      assert.deepEqual(Buffer.concat(parts), notes.buffer);
      assert.equal(await message.locator(".file b").innerText(), notes.name);

      // Dropped on the conversation, and sent before the upload is done.
      await gustav.page.evaluate(() => {
        const data = new DataTransfer();
        data.items.add(new File([new Uint8Array(3_000_000)], "dropped.bin"));
        document.querySelector("#pane").dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
      });
      await gustav.write("Dropped and sent at once");
      await frida.message("Dropped and sent at once").locator(".file", { hasText: "dropped.bin" }).waitFor();

      await frida.page.evaluate(() => {
        const data = new DataTransfer();
        data.items.add(new File([new Uint8Array(25 * 1024 * 1024 + 1)], "huge.bin"));
        document.querySelector("#pane").dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
      });
      await frida.page.locator(".compose-note", { hasText: "larger than 25 MiB" }).waitFor();
      assert.equal(await frida.page.locator(".chip").count(), 0);
      await frida.screenshot("conversation");
    });

    await step("unread messages are counted until they are seen", async () => {
      await frida.back();
      if (device === "desktop") {
        await frida.page.getByRole("button", { name: "Write to somebody" }).click();
        await frida.page.getByRole("searchbox").fill("gustav");
        await frida.page.getByRole("button", { name: `Gustav Vigeland @${handles[1]}` }).click();
        await frida.page.getByRole("button", { name: "Start writing" }).click();
        await frida.page.locator("#pane-header h1", { hasText: "Gustav Vigeland" }).waitFor();
        await frida.page.locator("#pane-header p", { hasText: "Online" }).waitFor();
      }
      for (const text of ["One", "Two", "Three"]) await gustav.write(text);
      await frida.channel(channel).locator(".badge", { hasText: "3" }).waitFor();
      await frida.screenshot("unread");
      await frida.open(channel);
      await frida.page.locator(".new-line").waitFor();
      await agree("what was unread", ["One", "Two", "Three"]);
      await frida.channel(channel).locator(".badge").waitFor({ state: "detached" });
    });

    await step("the server is killed while people write: nothing is lost, doubled or reloaded", async () => {
      for (const person of both) person.expectUnreachable = true;
      // Another tab of the same person, who will want the same twice.
      const tab = await gustav.tab();
      await tab.goto(gustav.page.url());
      await tab.locator("#rows .message", { hasText: "Three" }).waitFor();
      const second = Object.assign(Object.create(gustav), { page: tab });
      const burst = Array.from({ length: 8 }, (_, i) => `Burst ${i + 1}`);
      const during = ["While it is away 1", "While it is away 2", "While it is away 3"];
      const sending = (async () => {
        for (const text of burst) await frida.write(text);
      })();
      await gustav.message("Burst 2").first().waitFor();
      await server.kill();
      await sending;
      for (const text of during) await frida.write(text);
      await frida.page.locator("#banner:not([hidden])", { hasText: "No connection" }).waitFor();
      await frida.message(during[2]).locator(".state.queued").waitFor();
      await gustav.write("I am here, too");
      await gustav.choose("Three", "Edit");
      await gustav.page.getByLabel("Edit the message").fill("Three and a half");
      await gustav.page.getByRole("button", { name: "Save" }).click();
      await gustav.message("Three and a half").locator(".state.queued").waitFor({ state: "attached" });
      for (const person of [gustav, second]) {
        await person.react("Two", "fire");
        const waiting = person.message("Two").locator(".reaction.waiting", { hasText: "🔥" });
        assert.equal(await waiting.evaluate((button) => getComputedStyle(button).borderTopStyle), "dashed");
      }
      await frida.composer.fill("a thought that is not finished");
      await frida.screenshot("offline");

      await server.start();
      await Promise.all(both.map((person) => person.online()));
      const mine = [...burst, ...during];
      const everything = [...mine, "I am here, too"];
      const seen = await until(
        "both see everything, once, in one order",
        () => Promise.all(both.map((person) => person.texts())),
        ([a, b]) => JSON.stringify(a) === JSON.stringify(b) && everything.every((text) => a.includes(text) && b.includes(text)),
      );
      assert.deepEqual(seen[0].filter((text) => mine.includes(text)), mine);
      assert.equal(new Set(seen[0]).size, seen[0].length, "nothing twice");
      await frida.message("Two").locator(".reaction", { hasText: "🔥" }).waitFor();
      await until(
        "one reaction, and nobody is told that it was there already",
        () => Promise.all([gustav, second].map(({ page }) => page.locator(".reaction:not(.waiting)", { hasText: "🔥" }).count())),
        (counts) => counts.join() === "1,1",
      );
      assert.deepEqual(await frida.reactions("Two"), ["🔥 1"]);
      for (const page of [gustav.page, tab]) assert.equal(await page.locator(".failure").count(), 0);
      await tab.close();
      for (const person of both) {
        await person.message("Three and a half").locator(".edited").waitFor();
        await person.page.locator("#banner[hidden]").waitFor({ state: "attached" });
        assert.equal(await person.page.locator(".message.queued, .message.failed").count(), 0);
        assert.ok(await person.sameVisit(), "nobody reloaded");
      }
      assert.equal(await frida.composer.inputValue(), "a thought that is not finished");
      await frida.composer.fill("");
      for (const person of both) person.expectUnreachable = false;
    });

    await step("an upload survives a server that restarts", async () => {
      for (const person of both) person.expectUnreachable = true;
      await server.kill();
      await gustav.attach({ name: "patient.txt", mimeType: "text/plain", buffer: Buffer.from("patience") });
      await gustav.write("With a patient file");
      await gustav.page.locator(".compose-note", { hasText: "Sends when" }).waitFor();
      await server.start();
      await frida.message("With a patient file").locator(".file", { hasText: "patient.txt" }).waitFor({ timeout: 40_000 });
      for (const person of both) person.expectUnreachable = false;
    });

    await step("history is read back to the beginning by scrolling", async () => {
      const token = gustavTokens.access_token;
      const mine = await server.request("GET", "/v1/channels?limit=200", { token });
      const { id } = mine.items.find((item) => item.name === channel);
      const count = 230;
      for (let i = 1; i <= count; i++) {
        const headers = { "idempotency-key": randomUUID() };
        await server.request("POST", `/v1/channels/${id}/messages`, { token, headers, body: { text: `Line ${i}` } });
      }
      await frida.message(`Line ${count}`).waitFor();
      await gustav.page.reload();
      await gustav.online();
      await gustav.message(`Line ${count}`).waitFor();
      assert.equal(await gustav.message("Good morning, Gustav!").count(), 0, "not everything is loaded at once");
      await until(
        "the beginning is reached",
        async () => {
          await gustav.page.evaluate(() => (document.querySelector("#scroller").scrollTop = 0));
          return gustav.page.locator(".welcome").count();
        },
        (found) => found === 1,
      );
      const texts = await gustav.texts();
      assert.deepEqual(texts.filter((text) => text.startsWith("Line ")), Array.from({ length: count }, (_, i) => `Line ${i + 1}`));
      assert.equal(texts[0], "Good morning, Gustav!");
      await gustav.page.locator("#to-bottom").click();
      await until(
        "the end is shown again",
        () => gustav.page.locator("#scroller").evaluate((el) => el.scrollHeight - el.scrollTop - el.clientHeight),
        (rest) => rest < 2,
      );
    });

    await step("what is above stays in place while others write", async () => {
      const scroller = gustav.page.locator("#scroller");
      await scroller.evaluate((el) => (el.scrollTop = el.scrollHeight - el.clientHeight - 600));
      await gustav.page.locator("#to-bottom:not([hidden])").waitFor();
      const at = () => gustav.message("Line 215").evaluate((el) => el.getBoundingClientRect().top);
      const top = await at();
      await frida.write("Written below");
      await gustav.page.locator("#to-bottom", { hasText: "1 new message" }).waitFor();
      assert.ok(Math.abs((await at()) - top) < 2);
    });

    await step("a session ended elsewhere signs out here, and one's own wish does, too", async () => {
      const other = await Person.arrive(browser, server.url, device);
      await other.signIn(handles[1], PASSWORD);
      await gustav.back();
      await gustav.page.getByRole("button", { name: "Your account" }).click();
      await gustav.page.getByRole("menuitem", { name: "Your sessions" }).click();
      await gustav.page.locator("dialog .list-row").nth(1).waitFor();
      await gustav.screenshot("sessions");
      // The newest of the others stands right below one's own.
      await gustav.page.getByRole("button", { name: "End the session" }).first().click();
      await other.page.getByRole("alert").filter({ hasText: "ended" }).waitFor();
      await gustav.page.getByRole("button", { name: "Close" }).click();
      assert.deepEqual(other.problems, []);
      await other.context.close();

      await gustav.page.getByRole("button", { name: "Your account" }).click();
      await gustav.page.getByRole("menuitem", { name: "Sign out" }).click();
      await gustav.page.getByLabel("Handle").waitFor();
      assert.equal(await gustav.page.evaluate(() => localStorage.getItem("folkmoot.session")), null);
      await gustav.signIn(handles[1], PASSWORD);
    });

    await step("nothing suspicious was logged", () => {
      for (const person of both) assert.deepEqual(person.problems, []);
    });
  });
}

test("several tabs renew the session once, together", { timeout: TEST_MS }, async (t) => {
  await server.register("tabitha", PASSWORD);
  const person = await Person.arrive(browser, server.url, "desktop");
  t.after(() => person.context.close());
  await person.signIn("tabitha", PASSWORD);
  const pages = [person.page, await person.tab(), await person.tab()];
  for (const page of pages) await page.locator("#me small", { hasText: "Online" }).waitFor({ state: "attached" });
  let renewals = 0;
  person.context.on("request", (request) => (renewals += request.url().endsWith("/v1/auth/refresh") ? 1 : 0));
  await person.page.evaluate(() => {
    const session = JSON.parse(localStorage.getItem("folkmoot.session"));
    localStorage.setItem("folkmoot.session", JSON.stringify({ ...session, renewAt: 0 }));
  });
  const browse = async (page) => {
    await page.getByRole("button", { name: "Browse or create channels" }).click();
    await page.locator("dialog .list-row, dialog .empty").filter({ hasNotText: "Looking" }).first().waitFor();
  };
  await Promise.all(pages.map(browse));
  assert.equal(renewals, 1);
  for (const page of pages) assert.ok(await page.locator("#signin").isHidden());
  assert.deepEqual(person.problems, []);
});

test("dark, and with the keyboard alone", { timeout: TEST_MS }, async (t) => {
  await server.register("keyla", PASSWORD, "Keyla");
  const person = await Person.arrive(browser, server.url, "desktop", { colorScheme: "dark", reducedMotion: "reduce" });
  t.after(() => person.context.close());
  const { page } = person;
  await page.keyboard.type("keyla");
  await page.keyboard.press("Tab");
  await page.keyboard.type(PASSWORD);
  await page.keyboard.press("Enter");
  await person.online();
  const { keyboard } = page;
  await page.getByRole("button", { name: "Write to somebody" }).focus();
  await keyboard.press("Enter");
  await keyboard.type("keyl");
  await page.locator("dialog .empty").waitFor();
  await keyboard.press("Escape");
  assert.equal(await page.evaluate(() => document.activeElement.ariaLabel), "Write to somebody", "focus comes back");
  await page.getByRole("button", { name: "Browse or create channels" }).focus();
  await keyboard.press("Enter");
  await page.getByRole("button", { name: "Create a channel" }).focus();
  await keyboard.press("Enter");
  await page.getByLabel("Name", { exact: true }).waitFor();
  await keyboard.type("after-dark");
  await keyboard.press("Enter");
  await page.locator("#pane-header h1", { hasText: "after-dark" }).waitFor();
  await until("the composer has the focus", () => page.evaluate(() => document.activeElement.id), (id) => id === "composer-text");
  await keyboard.type("Typed, not clicked");
  await keyboard.press("Enter");
  await person.message("Typed, not clicked").locator(".state.sent").waitFor();
  await keyboard.press("ArrowUp");
  await page.getByLabel("Edit the message").waitFor();
  await keyboard.type(", and corrected");
  await keyboard.press("Enter");
  await person.message("Typed, not clicked, and corrected").locator(".edited").waitFor();
  await page.getByRole("button", { name: "React", exact: true }).focus();
  await keyboard.press("Enter");
  for (const key of ["ArrowRight", "ArrowRight", "ArrowLeft", "Enter"]) await keyboard.press(key);
  const heart = page.getByRole("button", { name: "❤️ 1, You" });
  await heart.waitFor();
  assert.equal(await heart.getAttribute("aria-pressed"), "true");
  await page.locator(".reaction:not(.waiting)").focus();
  await person.screenshot("dark");
  await keyboard.press("Space");
  await heart.waitFor({ state: "detached" });
  assert.equal(await page.evaluate(() => document.activeElement.ariaLabel), "React", "the focus stays at the message");
  assert.deepEqual(person.problems, []);
});
