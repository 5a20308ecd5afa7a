import assert from "node:assert/strict";
import { test } from "node:test";

import { parse, safeLink } from "../../chat-server/web/markdown.js";

/** The blocks as one readable string: *bold* is `b(...)`, a link `a(href|text)`, a line break `/`. */
function shown(source) {
  const span = (s) =>
    ({
      plain: () => s.text,
      break: () => "/",
      code: () => `code(${s.text})`,
      bold: () => `b(${s.spans.map(span).join("")})`,
      italic: () => `i(${s.spans.map(span).join("")})`,
      link: () => `a(${s.href}|${s.text})`,
    })[s.type]();
  return parse(source)
    .map((block) => (block.type === "code" ? `pre(${block.text})` : block.spans.map(span).join("")))
    .join(" ¶ ");
}

const CASES = [
  ["plain text stays plain", "a < b && c > d", "a < b && c > d"],
  ["bold, italic and both", "**a** *b* _c_ **x *y* z**", "b(a) i(b) i(c) b(x i(y) z)"],
  ["snake_case is a word", "one_two_three __init__", "one_two_three __init__"],
  ["stars with spaces are stars", "2 * 3 * 4 ** 5", "2 * 3 * 4 ** 5"],
  ["unclosed marks are text", "**never *ever `closed", "**never *ever `closed"],
  ["code keeps its marks", "`**a** <b>`", "code(**a** <b>)"],
  ["escapes", "\\*not\\* \\`code\\`", "*not* `code`"],
  ["line breaks", "a\nb\r\nc", "a/b/c"],
  ["fenced code", "see\n```rust\nfn a() {}\n**x**\n```\nend", "see ¶ pre(fn a() {}\n**x**) ¶ end"],
  ["an unclosed fence is text", "```\na", "```/a"],
  ["links", "[docs](https://example.com/a?b=c)", "a(https://example.com/a?b=c|docs)"],
  ["links with brackets", "[w](https://e.org/a_(b))", "a(https://e.org/a_(b)|w)"],
  ["bare links stop before punctuation", "see https://e.org/x, ok.", "see a(https://e.org/x|https://e.org/x), ok."],
  ["a bare link in emphasis ends with it", "**https://e.org**", "b(a(https://e.org/|https://e.org))"],
  ["no javascript links", "[x](javascript:alert(1))", "[x](javascript:alert(1))"],
  ["no data links", "[x](data:text/html,hi)", "[x](data:text/html,hi)"],
  ["html is text", "<script>alert(1)</script>", "<script>alert(1)</script>"],
];

for (const [name, source, expected] of CASES) test(name, () => assert.equal(shown(source), expected));

test("only http and https are links", () => {
  assert.equal(safeLink("https://example.com"), "https://example.com/");
  for (const bad of ["javascript:alert(1)", " javascript:alert(1)", "data:text/html,x", "file:///etc/passwd", "//x", ""]) {
    assert.equal(safeLink(bad), null, bad);
  }
});

test("hostile input of the longest length is parsed without going over it again and again", () => {
  const full = (unit) => unit.repeat(Math.floor((16 * 1024) / unit.length));
  for (const unit of ["*", "_", "**a ", "[", "[a](", "`", "[a](https://b(", "*a **b ", "http://", "\\", "```\n"]) {
    const began = performance.now();
    parse(full(unit));
    const took = performance.now() - began;
    // A parser that backtracks takes minutes; a slow machine does not take this.
    assert.ok(took < 20_000, `${JSON.stringify(unit)} took ${took} ms`);
  }
});
