// One modal dialog at a time, as the browser's own <dialog>: it keeps focus inside and Escape closes it.

import { h } from "./dom.js";
import { icon } from "./icons.js";

/** Opens a dialog; it removes itself when closed. */
export function openDialog(title, ...content) {
  const dialog = h("dialog", { "aria-labelledby": "dialog-title" });
  const close = h(
    "button",
    { type: "button", class: "icon-button", "aria-label": "Close", onclick: () => dialog.close() },
    icon("close"),
  );
  dialog.append(
    h("div", { class: "dialog-head" }, h("h2", { id: "dialog-title" }, title), close),
    h("div", { class: "dialog-body" }, content),
  );
  dialog.addEventListener("close", () => dialog.remove());
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
  });
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

/** Asks before something that cannot be undone. */
export function confirmDialog(title, text, label, run) {
  const dialog = openDialog(
    title,
    h("p", null, text),
    h(
      "div",
      { class: "actions" },
      h("button", { type: "button", class: "danger", onclick: () => (dialog.close(), run()) }, label),
      h("button", { type: "button", class: "secondary", onclick: () => dialog.close() }, "Cancel"),
    ),
  );
}

/** A line for what went wrong in a dialog; `fail(error)` shows it. */
export function problemLine() {
  const line = h("p", { class: "problem", role: "alert", hidden: true });
  const fail = (error) => {
    line.textContent = error ? error.message : "";
    line.hidden = !error;
  };
  return { line, fail };
}

/** Runs `work` with `button` disabled meanwhile, and shows what goes wrong. */
export async function during(button, fail, work) {
  button.disabled = true;
  fail(null);
  try {
    await work();
  } catch (error) {
    fail(error);
  } finally {
    button.disabled = false;
  }
}
