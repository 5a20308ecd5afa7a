// Round pictures made of initials, with a dot for presence.

import { h } from "./dom.js";
import { hue, initials } from "./format.js";

/** `presence`: true, false, or undefined for no dot. */
export function avatar(id, name, { presence, small = false } = {}) {
  return h(
    "span",
    { class: `avatar hue-${hue(id, 8)}${small ? " small" : ""}`, "aria-hidden": "true" },
    initials(name),
    presence !== undefined && h("span", { class: `dot${presence ? " online" : ""}` }),
  );
}
