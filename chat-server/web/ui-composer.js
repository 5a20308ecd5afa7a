// Where messages are written: a draft per channel, files with their progress, and who else is typing.

import { MAX_FILE_BYTES } from "./api.js";
import { Upload, refusal } from "./uploads.js";
import { byId, h, perFrame, reconcile } from "./dom.js";
import { names, size } from "./format.js";
import { icon } from "./icons.js";
import { MAX_TEXT_BYTES, excess } from "./kinds.js";

/** On a touch keyboard Enter makes a new line, because nothing else could; the button sends. */
const TOUCH = matchMedia("(hover: none) and (pointer: coarse)");

export function setUpComposer({ chat, signal, wrote, editLast }) {
  const drafts = new Map();
  let id = null;
  let shut = null;

  const typing = h("div", { class: "typing", "aria-live": "off" });
  const chips = h("div", { class: "chips", hidden: true });
  const note = h("p", { class: "compose-note", role: "status", hidden: true });
  const area = h("textarea", { id: "composer-text", rows: 1, enterkeyhint: TOUCH.matches ? "enter" : "send", autocomplete: "off" });
  const picker = h("input", { type: "file", multiple: true, hidden: true, "aria-hidden": "true", tabindex: -1 });
  const attach = h("button", { type: "button", class: "icon-button", "aria-label": "Attach files", title: `Attach files, up to ${size(MAX_FILE_BYTES)} each`, onclick: () => picker.click() }, icon("clip"));
  const send = h("button", { type: "button", class: "icon-button send", "aria-label": "Send", title: "Send" }, icon("send"));
  const box = h("div", { class: "compose-box" }, chips, note, h("div", { class: "compose-line" }, attach, picker, area, send));
  const closed = h("p", { class: "closed", hidden: true });
  byId("composer").replaceChildren(typing, box, closed);

  const key = (channel) => `folkmoot.draft.${chat.me.id}.${channel}`;
  const draft = () => drafts.get(id);

  function open(channel) {
    id = channel;
    if (!drafts.has(id)) {
      drafts.set(id, { text: localStorage.getItem(key(id)) ?? "", uploads: [], sending: false, problem: "" });
    }
    area.value = draft().text;
    shut = null;
    fit();
    render();
    if (!TOUCH.matches) area.focus();
  }

  function keepText(text) {
    draft().text = text;
    try {
      if (text) localStorage.setItem(key(id), text);
      else localStorage.removeItem(key(id));
    } catch {
      // A full storage must not stop anybody from writing.
    }
  }

  const now = () => {
    const channel = chat.channels.get(id);
    byId("composer").hidden = !channel;
    if (!channel) return;
    if (shut !== channel.archived) {
      shut = channel.archived;
      box.hidden = shut;
      closed.hidden = !shut;
      closed.textContent = "This channel is archived: it can be read, not written to.";
    }
    const sign = channel.kind === "public" || channel.kind === "private" ? "#" : "";
    area.placeholder = `Message ${sign}${chat.title(channel)}`;
    area.setAttribute("aria-label", area.placeholder);
    const { uploads, sending, problem } = draft();
    const rows = uploads.map((upload) => ({ upload, key: upload.key, sig: upload.state }));
    reconcile(chips, rows, ({ upload }) => chip(upload));
    rows.forEach(({ upload }, i) => {
      const bar = chips.children[i].querySelector("progress");
      if (bar) bar.value = upload.progress;
    });
    chips.hidden = !uploads.length;
    const over = excess(area.value);
    const trouble = over ? `Too long by ${over} bytes; a message has up to ${size(MAX_TEXT_BYTES)}.` : problem;
    note.textContent = trouble || (sending ? "Sends when the upload is done." : "");
    note.hidden = !note.textContent;
    note.classList.toggle("problem-text", Boolean(trouble));
    const something = area.value.trim() !== "" || uploads.some((upload) => upload.state !== "failed");
    send.disabled = !something || over > 0;
    typists();
  };
  const render = perFrame(now);

  function typists() {
    const users = chat.typing.in(id).map((user) => chat.people.name(user));
    typing.textContent = users.length ? `${names(users)} ${users.length === 1 ? "is" : "are"} typing…` : "";
  }

  function chip(upload) {
    const { uploads } = draft();
    const remove = () => {
      upload.cancel();
      uploads.splice(uploads.indexOf(upload), 1);
      draft().sending = false;
      now();
      area.focus();
    };
    const about = { done: size(upload.size), failed: upload.error }[upload.state];
    return h(
      "div",
      { class: `chip ${upload.state}` },
      icon(upload.state === "failed" ? "alert" : "file"),
      h(
        "div",
        { class: "grow" },
        h("b", null, upload.name),
        about ? h("small", null, about) : h("progress", { max: 1, "aria-label": `Uploading ${upload.name}` }),
      ),
      upload.state === "failed" && h("button", { type: "button", class: "icon-button", "aria-label": `Upload ${upload.name} again`, onclick: () => upload.start() }, icon("retry")),
      h("button", { type: "button", class: "icon-button", "aria-label": `Remove ${upload.name}`, onclick: remove, dataset: { focus: "remove" } }, icon("close")),
    );
  }

  /** Begins to upload to the channel that is open now, even if another one is when it ends. */
  function add(files) {
    const [channel, mine] = [id, draft()];
    mine.problem = "";
    for (const file of files) {
      const no = refusal(file, mine.uploads.length);
      if (no) {
        mine.problem = no;
        continue;
      }
      const changed = () => {
        if (mine.sending && mine.uploads.every((upload) => upload.state !== "uploading")) submit(channel);
        render();
      };
      mine.uploads.push(new Upload({ api: chat.api, channel, file, changed }));
    }
    now();
  }

  /** Sends the channel's draft, or as soon as its uploads are done. A failed upload keeps it back. */
  function submit(channel = id) {
    const mine = drafts.get(channel);
    const { uploads } = mine;
    const text = mine.text.trim();
    mine.sending = uploads.some((upload) => upload.state === "uploading");
    mine.problem = "";
    if (uploads.some((upload) => upload.state === "failed")) {
      mine.problem = "A file was not uploaded: try it again or remove it.";
    } else if (!mine.sending && (text || uploads.length)) {
      chat.send(channel, text, uploads.map((upload) => upload.ref));
      mine.uploads = [];
      mine.text = "";
      localStorage.removeItem(key(channel));
      if (channel === id) {
        area.value = "";
        fit();
        wrote();
      }
    }
    now();
  }

  /** Grows the box with its text where `field-sizing` does not. */
  function fit() {
    if (CSS.supports("field-sizing", "content")) return;
    area.style.height = "auto";
    area.style.height = `${area.scrollHeight}px`;
  }

  area.addEventListener("input", () => {
    keepText(area.value);
    draft().problem = "";
    fit();
    now();
    if (area.value.trim()) chat.typing.typed(id);
    else chat.typing.stopped();
  });
  area.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing && !TOUCH.matches) {
      event.preventDefault();
      if (!send.disabled) submit();
    } else if (event.key === "ArrowUp" && !area.value) {
      event.preventDefault();
      editLast();
    }
  });
  send.addEventListener("click", () => {
    submit();
    area.focus();
  });
  picker.addEventListener("change", () => {
    add(picker.files);
    picker.value = "";
    area.focus();
  });
  area.addEventListener("paste", (event) => {
    if (!event.clipboardData.files.length) return;
    event.preventDefault();
    add(event.clipboardData.files);
  });

  const pane = byId("pane");
  const carriesFiles = (event) => event.dataTransfer?.types.includes("Files");
  const dragging = (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    box.classList.toggle("dropping", event.type === "dragover");
  };
  pane.addEventListener("dragover", dragging, { signal });
  pane.addEventListener("dragleave", dragging, { signal });
  pane.addEventListener(
    "drop",
    (event) => {
      dragging(event);
      if (carriesFiles(event) && id && !shut) add(event.dataTransfer.files);
    },
    { signal },
  );
  const height = new ResizeObserver(() => pane.style.setProperty("--composer-height", `${byId("composer").offsetHeight}px`));
  height.observe(byId("composer"));
  signal.addEventListener("abort", () => height.disconnect());

  chat.on("typing", () => id && typists());
  for (const topic of ["channels", "people"]) chat.on(topic, () => id && render());
  return { open };
}
