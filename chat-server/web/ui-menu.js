// Small menus beside a button: arrow keys move, Escape closes, focus goes back to the button.

import { h } from "./dom.js";
import { icon } from "./icons.js";

let close = null;

/**
 * Opens a menu at `button`; `items` are `{ label, icon, run, risky }`, or with a `name` where the label is not one. A second
 * call closes it. `look` is a class for menus that are no plain list.
 */
export function toggleMenu(button, items, look = "") {
  const mine = button.getAttribute("aria-expanded") === "true";
  close?.();
  if (mine) return;

  const menu = h(
    "div",
    { class: `menu ${look}`.trim(), role: "menu" },
    items.map((item) =>
      h(
        "button",
        {
          type: "button",
          role: "menuitem",
          tabindex: -1,
          class: item.risky ? "risky" : null,
          title: item.name,
          "aria-label": item.name,
          onclick: () => pick(item),
        },
        item.icon && icon(item.icon),
        item.label,
      ),
    ),
  );
  const entries = [...menu.children];
  const pick = (item) => {
    close();
    item.run();
  };
  const outside = (event) => {
    if (!menu.contains(event.target) && !button.contains(event.target)) close();
  };
  // A message that arrives moves the button; the menu goes with it instead of vanishing under the finger.
  const follow = () => button.isConnected && place(menu, button);
  const keys = (event) => {
    const at = entries.indexOf(document.activeElement);
    const step = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
    if (step) entries.at((at + step + entries.length) % entries.length).focus();
    else if (event.key === "Home") entries[0].focus();
    else if (event.key === "End") entries.at(-1).focus();
    else if (event.key === "Escape" || event.key === "Tab") close();
    else return;
    if (event.key !== "Tab") event.preventDefault();
  };

  document.body.append(menu);
  place(menu, button);
  button.setAttribute("aria-expanded", "true");
  menu.addEventListener("keydown", keys);
  document.addEventListener("pointerdown", outside);
  addEventListener("resize", follow);
  document.addEventListener("scroll", follow, true);
  entries[0].focus();

  close = () => {
    close = null;
    const held = menu.contains(document.activeElement);
    menu.remove();
    button.setAttribute("aria-expanded", "false");
    document.removeEventListener("pointerdown", outside);
    removeEventListener("resize", follow);
    document.removeEventListener("scroll", follow, true);
    if (held) button.focus();
  };
}

/** Below the button and aligned with its right edge, or above it where there is no room. */
function place(menu, button) {
  const [at, size] = [button.getBoundingClientRect(), menu.getBoundingClientRect()];
  const below = at.bottom + 4 + size.height <= innerHeight;
  const left = Math.min(Math.max(8, at.right - size.width), innerWidth - size.width - 8);
  menu.style.left = `${left}px`;
  menu.style.top = `${Math.max(8, below ? at.bottom + 4 : at.top - size.height - 4)}px`;
}
