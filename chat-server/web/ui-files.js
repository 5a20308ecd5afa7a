// Attachments in the timeline. Content needs the token, so it is fetched and shown from a blob: address.

import { h } from "./dom.js";
import { icon } from "./icons.js";
import { size } from "./format.js";
import { openDialog } from "./ui-dialog.js";

/** Types that a browser draws and that cannot script; the server sniffed them from the content. */
const PICTURES = new Set(["image/png", "image/jpeg", "image/gif", "image/webp", "image/avif"]);
/** Larger pictures are shown on demand only. */
const MAX_INLINE_BYTES = 8 * 1024 * 1024;
const MAX_CACHED = 40;

/** file id → promise of a blob: address; the least recently used is let go. */
const cache = new Map();

function address(api, file) {
  let url = cache.get(file.id);
  if (url) cache.delete(file.id);
  else url = api.content(file.id).then((blob) => URL.createObjectURL(new Blob([blob], { type: file.media_type })));
  cache.set(file.id, url);
  url.catch(() => cache.delete(file.id));
  if (cache.size > MAX_CACHED) {
    const [oldest, old] = cache.entries().next().value;
    cache.delete(oldest);
    old.then(URL.revokeObjectURL, () => {});
  }
  return url;
}

/** Forgets everything of the person who signed out. */
export function clearFiles() {
  for (const url of cache.values()) url.then(URL.revokeObjectURL, () => {});
  cache.clear();
}

/** The attachments of a message. */
export function fileList(api, files) {
  if (!files.length) return null;
  return h("div", { class: "files" }, files.map((file) => (isPicture(file) ? thumbnail(api, file) : card(api, file))));
}

const isPicture = (file) => PICTURES.has(file.media_type) && file.size <= MAX_INLINE_BYTES;

function thumbnail(api, file) {
  const button = h(
    "button",
    { type: "button", class: "thumb", "aria-label": `Picture ${file.name}`, onclick: () => show(api, file) },
    "Loading picture…",
  );
  address(api, file).then(
    (src) => button.replaceChildren(h("img", { src, alt: file.name, onerror: () => button.replaceChildren(file.name) })),
    () => button.replaceChildren("The picture could not be loaded"),
  );
  return button;
}

function card(api, file) {
  const status = h("small", null, size(file.size));
  const button = h(
    "button",
    { type: "button", class: "file", "aria-label": `Download ${file.name}, ${size(file.size)}`, onclick: () => save(api, file, status) },
    icon("file"),
    h("span", { class: "grow" }, h("b", null, file.name), status),
    icon("download"),
  );
  return button;
}

async function save(api, file, status) {
  status.textContent = "Downloading…";
  try {
    const blob = await api.content(file.id);
    const url = URL.createObjectURL(new Blob([blob], { type: "application/octet-stream" }));
    h("a", { href: url, download: file.name }).click();
    setTimeout(() => URL.revokeObjectURL(url), 60_000);
    status.textContent = size(file.size);
  } catch {
    status.textContent = "The download failed; try again";
  }
}

async function show(api, file) {
  const status = h("span", null, size(file.size));
  const image = h("img", { alt: file.name });
  openDialog(
    file.name,
    image,
    h(
      "div",
      { class: "actions" },
      h("button", { type: "button", class: "secondary", onclick: () => save(api, file, status) }, icon("download"), "Download ", status),
    ),
  ).classList.add("picture");
  image.src = await address(api, file);
}
