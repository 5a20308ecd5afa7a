// Says when there is no connection and when the next attempt is. It takes no focus and blocks nothing:
// writing goes on, and what is written is kept.

import { byId, h } from "./dom.js";
import { inSeconds } from "./format.js";

/** Shorter interruptions are not worth a person's attention. */
const SHOW_AFTER_MS = 700;

export function setUpBanner(chat) {
  const banner = byId("banner");
  const text = h("span");
  const now = h("button", { type: "button", onclick: () => chat.socket.retryNow() }, "Try now");
  banner.replaceChildren(text, now);
  let since = Date.now();
  let timer = null;

  const render = () => {
    clearTimeout(timer);
    const { state, retryAt } = chat.socket;
    if (state === "online") {
      banner.hidden = true;
      since = null;
      return;
    }
    since ??= Date.now();
    banner.hidden = Date.now() - since < SHOW_AFTER_MS;
    const elsewhere = state === "waiting" && retryAt === null;
    const when = state === "waiting" && !elsewhere ? inSeconds(retryAt - Date.now()) : "";
    const next = when ? `reconnecting ${when}` : elsewhere ? "since the chat is open in too many other places." : "reconnecting…";
    const line = `No connection, ${next} You can keep writing; it is sent as soon as it can be.`.replace(" s You", " s. You");
    if (text.textContent !== line) text.textContent = line;
    now.hidden = !when && !elsewhere;
    timer = setTimeout(render, 250);
  };
  chat.on("connection", render);
  render();
  return () => clearTimeout(timer);
}
