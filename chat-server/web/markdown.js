// A small, safe subset of Markdown: **bold**, *italic*, `code`, fenced code, [links](https://…), bare
// links and line breaks. `parse` makes plain data, `render` makes DOM nodes of it; no HTML in between.

const MAX_DEPTH = 4;
const BARE_LINK = /https?:\/\/[^\s<>"`]+/y;
const LINK = /\[([^[\]\n]{1,500})\]\((https?:\/\/[^\s()<>"]{1,2000}(?:\([^\s()<>"]{0,200}\))?[^\s()<>"]{0,200})\)/y;
const ESCAPABLE = /[\\`*_[\]()~>#-]/;
const WORD = /[\p{L}\p{N}]/u;

/** Markdown source → blocks: `{ type: "code", text }` or `{ type: "text", spans }`. */
export function parse(source) {
  const blocks = [];
  let plain = [];
  const flush = () => {
    const text = plain.join("\n").replace(/^\n+|\n+$/g, "");
    if (text) blocks.push({ type: "text", spans: inline(text, 0) });
    plain = [];
  };
  const lines = source.replaceAll("\r\n", "\n").split("\n");
  for (let i = 0; i < lines.length; i++) {
    const end = lines[i].startsWith("```") ? lines.indexOf("```", i + 1) : -1;
    if (end === -1) {
      plain.push(lines[i]);
      continue;
    }
    flush();
    blocks.push({ type: "code", text: lines.slice(i + 1, end).join("\n") });
    i = end;
  }
  flush();
  return blocks;
}

function inline(text, depth) {
  const spans = [];
  // A delimiter that was not found once is not there further on either: it keeps hostile input linear.
  const absent = new Set();
  let buffer = "";
  const push = (span) => {
    if (buffer) spans.push({ type: "plain", text: buffer });
    buffer = "";
    spans.push(span);
  };
  const closing = (delimiter, from) => {
    if (absent.has(delimiter)) return -1;
    const at = text.indexOf(delimiter, from);
    if (at === -1) absent.add(delimiter);
    return at;
  };
  for (let i = 0; i < text.length; ) {
    const char = text[i];
    if (char === "\\" && i + 1 < text.length && ESCAPABLE.test(text[i + 1])) {
      buffer += text[i + 1];
      i += 2;
    } else if (char === "\n") {
      push({ type: "break" });
      i += 1;
    } else if (char === "`") {
      const end = closing("`", i + 1);
      if (end > i + 1) {
        push({ type: "code", text: text.slice(i + 1, end) });
        i = end + 1;
      } else {
        buffer += char;
        i += 1;
      }
    } else if (char === "*" || char === "_") {
      const found = depth < MAX_DEPTH ? emphasis(text, i, closing) : null;
      if (found) {
        push({ type: found.type, spans: inline(found.text, depth + 1) });
        i = found.end;
      } else {
        const run = text.startsWith("**", i) ? "**" : char;
        buffer += run;
        i += run.length;
      }
    } else if (char === "[") {
      LINK.lastIndex = i;
      const match = LINK.exec(text);
      const href = match && safeLink(match[2]);
      if (href) {
        push({ type: "link", href, text: match[1] });
        i += match[0].length;
      } else {
        buffer += char;
        i += 1;
      }
    } else if (char === "h" && !(i > 0 && WORD.test(text[i - 1]))) {
      BARE_LINK.lastIndex = i;
      const match = BARE_LINK.exec(text);
      const url = match?.[0].replace(/[.,;:!?'*_)\]}]+$/, "");
      const href = url && safeLink(url);
      if (href) {
        push({ type: "link", href, text: url });
        i += url.length;
      } else {
        buffer += char;
        i += 1;
      }
    } else {
      buffer += char;
      i += 1;
    }
  }
  if (buffer) spans.push({ type: "plain", text: buffer });
  return spans;
}

/** `**bold**`, `*italic*` and `_italic_`, when a non-space follows the opener and precedes the closer. */
function emphasis(text, at, closing) {
  const delimiter = text.startsWith("**", at) ? "**" : text[at];
  const from = at + delimiter.length;
  if (from >= text.length || /\s/.test(text[from])) return null;
  // snake_case and __init__ are words, not emphasis.
  const inWord = (char) => char !== undefined && (char === "_" || WORD.test(char));
  if (delimiter === "_" && (inWord(text[at - 1]) || text[from] === "_")) return null;
  const end = closing(delimiter, from + 1);
  if (end === -1 || /\s/.test(text[end - 1])) return null;
  if (delimiter === "_" && inWord(text[end + 1])) return null;
  return {
    type: delimiter === "**" ? "bold" : "italic",
    text: text.slice(from, end),
    end: end + delimiter.length,
  };
}

/** The address when it is http or https; `null` for anything else, `javascript:` above all. */
export function safeLink(text) {
  try {
    const url = new URL(text);
    return url.protocol === "https:" || url.protocol === "http:" ? url.href : null;
  } catch {
    return null;
  }
}

/** Markdown source → nodes. */
export function render(source) {
  const fragment = document.createDocumentFragment();
  for (const block of parse(source)) {
    if (block.type === "code") {
      const pre = document.createElement("pre");
      pre.tabIndex = 0;
      pre.append(element("code", block.text));
      fragment.append(pre);
    } else {
      const p = document.createElement("p");
      p.append(...block.spans.map(node));
      fragment.append(p);
    }
  }
  return fragment;
}

function element(tag, text) {
  const el = document.createElement(tag);
  el.textContent = text;
  return el;
}

function node(span) {
  switch (span.type) {
    case "break":
      return document.createElement("br");
    case "code":
      return element("code", span.text);
    case "bold":
    case "italic": {
      const el = document.createElement(span.type === "bold" ? "strong" : "em");
      el.append(...span.spans.map(node));
      return el;
    }
    case "link": {
      const a = element("a", span.text);
      a.href = span.href;
      a.title = span.href;
      a.target = "_blank";
      a.rel = "noopener noreferrer";
      return a;
    }
    default:
      return document.createTextNode(span.text);
  }
}
