// Folkmoot in a browser. Small on purpose: plain modules, no framework, nothing from elsewhere.

import { Api } from "./api.js";
import { Chat } from "./chat.js";
import { Session } from "./session.js";
import { byId } from "./dom.js";
import { clearFiles } from "./ui-files.js";
import { confirmDialog } from "./ui-dialog.js";
import { setUpBanner } from "./ui-banner.js";
import { setUpComposer } from "./ui-composer.js";
import { setUpPane } from "./ui-pane.js";
import { setUpSidebar } from "./ui-sidebar.js";
import { setUpSignIn } from "./ui-signin.js";

/** From this width on the list and a conversation stand side by side, so one is always open. */
const WIDE = matchMedia("(min-width: 720px)");

const session = new Session();
const api = new Api(session);
const signIn = setUpSignIn({ api, session, entered: enter });
let leave = () => {};

session.addEventListener("ended", ({ reason }) => {
  leave();
  signIn.show(reason);
});
if (session.current && !signIn.invited) enter();
else signIn.show();

function enter() {
  const life = new AbortController();
  const { signal } = life;
  const chat = new Chat({ session, api });
  const lastKey = `folkmoot.last.${chat.me.id}`;
  let current = null;

  const pane = setUpPane({ chat, signal, leave: () => (location.hash = "#/") });
  const composer = setUpComposer({ chat, signal, wrote: pane.wrote, editLast: pane.editLast });
  const open = (id) => (location.hash = `#/c/${id}`);
  const renderSidebar = setUpSidebar({ chat, open, current: () => current, seen: pane.seen, signOut });
  const stopBanner = setUpBanner(chat);

  /** The address says what is open, so Back works and a reload comes back to the same place. */
  function route() {
    const id = /^#\/c\/([0-9a-f-]{36})$/.exec(location.hash)?.[1] ?? null;
    byId("chat").classList.toggle("open", id !== null);
    if (id !== current) {
      current = id;
      pane.open(id);
      if (id) {
        composer.open(id);
        localStorage.setItem(lastKey, id);
      }
    }
    byId("composer").hidden = !chat.channels.has(current);
    renderSidebar();
    openSomething();
  }

  function openSomething() {
    if (!chat.loaded || (current && chat.channels.has(current))) return;
    if (current) return location.replace("#/");
    if (!WIDE.matches || !chat.channels.size) return;
    const last = localStorage.getItem(lastKey);
    const named = [...chat.channels.values()].filter((channel) => channel.name);
    const first = named.find((channel) => channel.name === "general") ?? named[0] ?? [...chat.channels.values()][0];
    location.replace(`#/c/${chat.channels.has(last) ? last : first.id}`);
  }

  function signOut() {
    const waiting = chat.outbox.entries.filter((entry) => entry.state !== "sent").length;
    const go = async () => {
      // Should the server be away, the tokens are forgotten here all the same.
      await Promise.race([api.logout().catch(() => {}), new Promise((resolve) => setTimeout(resolve, 3000))]);
      session.end();
    };
    if (!waiting) return go();
    const what = waiting === 1 ? "One message is" : `${waiting} messages are`;
    confirmDialog("Sign out now?", `${what} not sent yet. They stay on this device and are sent when you sign in again.`, "Sign out", go);
  }

  leave = () => {
    leave = () => {};
    life.abort();
    stopBanner();
    chat.stop();
    clearFiles();
    document.querySelector("dialog")?.close();
    byId("chat").hidden = true;
    history.replaceState(null, "", "/");
  };

  addEventListener("hashchange", route, { signal });
  WIDE.addEventListener("change", openSomething, { signal });
  byId("skip").addEventListener("click", () => byId("composer-text").focus(), { signal });
  chat.on("channels", openSomething);
  signIn.hide();
  byId("chat").hidden = false;
  chat.start();
  route();
}
