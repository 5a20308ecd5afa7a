// Builds elements node by node. Nothing in this client parses HTML, so what people write stays text.

/**
 * `h("button", { class: "primary", onclick: f, "aria-label": "Send" }, icon("send"), "Send")`.
 * `false`, `null` and `undefined` leave a property or child out.
 */
export function h(tag, props, ...children) {
  const el = document.createElement(tag);
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === false || value === null || value === undefined) continue;
    if (name.startsWith("on")) el.addEventListener(name.slice(2), value);
    else if (name === "dataset") Object.assign(el.dataset, value);
    else if (name === "value") el.value = value;
    else el.setAttribute(name, value === true ? "" : value);
  }
  append(el, children);
  return el;
}

/** Appends text and nodes, flattening arrays. */
export function append(el, children) {
  for (const child of children.flat(Infinity)) {
    if (child === false || child === null || child === undefined) continue;
    el.append(child);
  }
}

/** A region of the page by its id. */
export const byId = (id) => document.getElementById(id);

/**
 * Makes `parent` show `items` in order, touching only what changed: a node stays while its item's `key`
 * and `sig` stay, so focus, selection and loaded pictures survive a render.
 */
export function reconcile(parent, items, create) {
  const old = new Map();
  for (const node of parent.children) old.set(node.dataset.key, node);
  let at = parent.firstChild;
  for (const item of items) {
    let node = old.get(item.key);
    if (node && node.dataset.sig !== item.sig) {
      const fresh = create(item);
      const held = node.contains(document.activeElement) ? document.activeElement.dataset.focus : null;
      if (node === at) at = fresh;
      node.replaceWith(fresh);
      if (held) fresh.querySelector(`[data-focus="${held}"]`)?.focus();
      node = fresh;
    } else if (!node) {
      node = create(item);
    }
    node.dataset.key = item.key;
    node.dataset.sig = item.sig;
    old.delete(item.key);
    if (node === at) at = at.nextSibling;
    else parent.insertBefore(node, at);
  }
  for (const node of old.values()) node.remove();
}

/** Runs `render` once per frame, however often it is asked for; at once when the tab is hidden. */
export function perFrame(render) {
  let due = false;
  const run = () => {
    due = false;
    render();
  };
  return () => {
    if (due) return;
    due = true;
    if (document.visibilityState === "visible") requestAnimationFrame(run);
    else setTimeout(run, 0);
  };
}

/** Tells people who listen to the page instead of looking at it. */
export function announce(text) {
  const region = byId("announce");
  region.textContent = "";
  region.textContent = text.slice(0, 300);
}
