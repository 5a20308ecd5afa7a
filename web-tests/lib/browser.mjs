// People in front of a browser: each has a context of their own, and everything suspicious is noted.

import { mkdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

export const DEVICES = {
  phone: { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true },
  desktop: { viewport: { width: 1280, height: 800 }, deviceScaleFactor: 1 },
};

const SCREENSHOTS = fileURLToPath(new URL("../screenshots/", import.meta.url));
const TIMEOUT_MS = 15_000;
/** What Chromium itself logs when a server is away; expected while a test has killed it. */
const UNREACHABLE = /net::ERR_|WebSocket connection to .* failed/;
/** A wrong password is an answer, which Chromium logs all the same. */
const REFUSED = /status of 401/;

export const launch = () =>
  chromium.launch({
    executablePath: process.env.CHROMIUM_BIN ?? "/usr/bin/chromium",
    args: [
      "--headless",
      "--no-sandbox",
      "--disable-gpu",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      "--no-first-run",
      "--disable-quic",
    ],
  });

export class Person {
  /** Opens the client as somebody without a session. */
  static async arrive(browser, url, device, options = {}) {
    const person = new Person();
    person.device = device;
    person.problems = [];
    person.context = await browser.newContext({ ...DEVICES[device], baseURL: url, locale: "en-GB", ...options });
    person.context.setDefaultTimeout(TIMEOUT_MS);
    await person.context.addInitScript(() => {
      document.addEventListener("securitypolicyviolation", (event) =>
        console.error(`CSP violation: ${event.violatedDirective} ${event.blockedURI} ${event.sample}`),
      );
    });
    person.page = await person.tab();
    return person;
  }

  /** Another tab of the same browser. */
  async tab() {
    const page = await this.context.newPage();
    page.on("pageerror", (error) => this.problems.push(`uncaught: ${error.stack}`));
    page.on("dialog", (dialog) => {
      this.problems.push(`a dialog opened: ${dialog.message()}`);
      dialog.dismiss();
    });
    page.on("console", (message) => {
      if (message.type() !== "error" && message.type() !== "warning") return;
      const text = message.text();
      if (this.expectUnreachable && UNREACHABLE.test(text)) return;
      if (this.expectRefusal && REFUSED.test(text)) return;
      this.problems.push(`${message.type()}: ${text}`);
    });
    await page.goto("/");
    // Gone after a reload, and so proof that there was none.
    await page.evaluate(() => (window.sameVisit = true));
    return page;
  }

  async signIn(handle, password) {
    const { page } = this;
    await page.getByLabel("Handle").fill(handle);
    await page.getByLabel("Password").fill(password);
    await page.locator("#signin-submit").click();
    await page.locator("#chat:not([hidden])").waitFor();
    await this.online();
  }

  online() {
    return this.page.locator("#me small", { hasText: "Online" }).waitFor({ state: "attached" });
  }

  /** Opens a conversation by its name, coming from wherever the person is. */
  async open(name) {
    await this.back();
    await this.channel(name).click();
    await this.page.locator("#pane-header h1", { hasText: name }).waitFor();
  }

  /** On a phone: to the list of channels. */
  async back() {
    const back = this.page.getByRole("button", { name: "Back to the channels" });
    if (await back.isVisible()) await back.click();
  }

  channel(name) {
    return this.page.locator(`.channel[data-name="${name}"]`);
  }

  get composer() {
    return this.page.locator("#composer-text");
  }

  async write(text) {
    await this.composer.fill(text);
    if (this.device === "phone") await this.page.getByRole("button", { name: "Send", exact: true }).click();
    else await this.composer.press("Enter");
  }

  /** The message that contains `text`. */
  message(text) {
    return this.page.locator("#rows .message").filter({ hasText: text });
  }

  /** The texts in sight of the DOM, from the oldest to the newest. */
  texts() {
    return this.page.locator("#rows .message .text").allInnerTexts();
  }

  /** Chooses an entry of a message's menu. */
  async choose(text, entry) {
    const message = this.message(text);
    await message.hover();
    await message.getByRole("button", { name: "More about this message" }).click();
    await this.page.getByRole("menuitem", { name: entry }).click();
  }

  /** Reacts to a message with an emoji of the palette, by its name. */
  async react(text, name) {
    const message = this.message(text);
    await message.hover();
    await message.getByRole("button", { name: "React", exact: true }).click();
    await this.page.getByRole("menuitem", { name, exact: true }).click();
  }

  /** The reactions below a message: emoji, count, and `*` where one has part in it. */
  reactions(text) {
    return this.message(text)
      .locator(".reaction")
      .evaluateAll((all) => all.map((button) => `${button.innerText.replace(/\s+/g, " ")}${button.ariaPressed === "true" ? "*" : ""}`));
  }

  async attach(...files) {
    await this.page.locator("#composer input[type=file]").setInputFiles(files);
  }

  async screenshot(name) {
    mkdirSync(SCREENSHOTS, { recursive: true });
    await this.page.screenshot({ path: `${SCREENSHOTS}${this.device}-${name}.png`, animations: "disabled" });
  }

  sameVisit() {
    return this.page.evaluate(() => window.sameVisit === true);
  }
}

/** Waits until `probe` gives what `accept` takes, and says what it gave last when it does not. */
export async function until(what, probe, accept, ms = TIMEOUT_MS) {
  const deadline = Date.now() + ms;
  for (;;) {
    const value = await probe();
    if (accept(value)) return value;
    if (Date.now() > deadline) throw new Error(`not within ${ms} ms: ${what}; last: ${JSON.stringify(value)}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
