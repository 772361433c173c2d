/**
 * Messages as people write them: a small part of Markdown, links, and mentions. Nothing of a text becomes HTML.
 *
 * Blocks: fenced code, quotes, lists, paragraphs. In a line: code, bold, italic, strikethrough, links, @names. What is not closed
 * stays as it was written. The time is linear in the length: a marker that is not closed is looked for once.
 */
import { html } from "./html.js";

const FENCE = /^```[\w+#.-]*\s*$/;
const ITEM = /^(?:([-*•])|(\d{1,9})[.)])\s+/;
const QUOTE = /^>\s?/;
const LINK = /(?:https?:\/\/|www\.)[^\s<>"'`]{1,2000}/iy;
// What ends a sentence does not end an address.
const AFTER_LINK = ".,:;!?*_~";
const WORD = /[\p{L}\p{N}]/u;
const MARKERS = { "**": "strong", "~~": "s", "*": "em", _: "em" };
const DEEPEST = 4;
const JUMBO = /^(?:(?:\p{Extended_Pictographic}|\p{Regional_Indicator}{2})(?:\uFE0F|\u200D\p{Extended_Pictographic}|\p{Emoji_Modifier})*\s*){1,3}$/u;

/** Whether a text is a few emoji and nothing else, which are shown large. */
export const isJumbo = (text) => text.length <= 40 && JUMBO.test(text);

/** A text in one line, without what only marks it up. */
export const unmarked = (text) => text.replace(/^(?:>|[-*•]|```\S*)\s*/gm, "").replace(/\*\*|~~|`/g, "").replace(/\s+/g, " ").trim();

/** @param {string} text @param {{name: string, isMe: boolean}[]} [mentions] those whom the message mentions */
export function markdown(text, mentions = []) {
  const lines = text.split("\n");
  const blocks = [];
  let plain = [];
  const flush = () => {
    if (plain.length) blocks.push(html`<p dir="auto">${inline(plain.join("\n"), mentions)}</p>`);
    plain = [];
  };
  for (let at = 0; at < lines.length;) {
    const end = FENCE.test(lines[at]) ? lines.indexOf("```", at + 1) : -1;
    if (end > 0) {
      flush();
      blocks.push(html`<pre tabindex="0"><code>${lines.slice(at + 1, end).join("\n")}</code></pre>`);
      at = end + 1;
    } else if (QUOTE.test(lines[at])) {
      flush();
      const from = at;
      while (at < lines.length && QUOTE.test(lines[at])) at += 1;
      blocks.push(html`<blockquote dir="auto">${inline(lines.slice(from, at).map((line) => line.replace(QUOTE, "")).join("\n"), mentions)}</blockquote>`);
    } else if (ITEM.test(lines[at])) {
      flush();
      const number = lines[at].match(ITEM)[2];
      const items = [];
      for (; at < lines.length && ITEM.test(lines[at]) && Boolean(lines[at].match(ITEM)[2]) === Boolean(number); at += 1) {
        items.push(html`<li dir="auto">${inline(lines[at].replace(ITEM, ""), mentions)}</li>`);
      }
      blocks.push(number ? html`<ol start=${number}>${items}</ol>` : html`<ul>${items}</ul>`);
    } else {
      plain.push(lines[at]);
      at += 1;
    }
  }
  flush();
  return blocks;
}

function inline(text, mentions, depth = 0) {
  const out = [];
  // Markers that are not closed from here on.
  const open = new Set();
  let plain = 0;
  let at = 0;
  const put = (node, end) => {
    if (at > plain) out.push(text.slice(plain, at));
    out.push(node);
    at = end;
    plain = end;
  };
  while (at < text.length) {
    const found = code(text, at, open) ?? link(text, at) ?? mention(text, at, mentions) ?? (depth < DEEPEST ? marked(text, at, open, mentions, depth) : null);
    if (found?.node) put(found.node, found.end); else at = found?.end ?? at + 1;
  }
  if (plain < text.length) out.push(text.slice(plain));
  return out;
}

function code(text, at, open) {
  if (text[at] !== "`" || open.has("`")) return null;
  const end = text.indexOf("`", at + 1);
  if (end < 0) open.add("`");
  return end > at + 1 ? { node: html`<code>${text.slice(at + 1, end)}</code>`, end: end + 1 } : null;
}

/** What only looks like an address stays as it is, and is not looked at again. */
function link(text, at) {
  if (!"hHwW".includes(text[at]) || WORD.test(text[at - 1] ?? "")) return null;
  LINK.lastIndex = at;
  const [matched] = LINK.exec(text) ?? [];
  if (!matched) return null;
  let length = matched.length;
  while (length && AFTER_LINK.includes(matched[length - 1])) length -= 1;
  let address = matched.slice(0, length);
  // A bracket around the address is not a part of it; one inside is.
  if (address.endsWith(")") && !address.includes("(")) address = address.slice(0, -1);
  const href = address.toLowerCase().startsWith("www.") ? `https://${address}` : address;
  if (!URL.canParse(href) || !/[.:]|^localhost$/.test(new URL(href).hostname)) return { node: null, end: at + matched.length };
  return { node: html`<a href=${href} target="_blank" rel="noopener noreferrer nofollow">${address}</a>`, end: at + address.length };
}

function mention(text, at, mentions) {
  if (text[at] !== "@" || WORD.test(text[at - 1] ?? "")) return null;
  const found = mentions.find(({ name }) => text.startsWith(name, at + 1) && !WORD.test(text[at + 1 + name.length] ?? ""));
  return found && { node: html`<span class=${found.isMe ? "mention me" : "mention"}>@${found.name}</span>`, end: at + 1 + found.name.length };
}

function marked(text, at, open, mentions, depth) {
  const marker = Object.keys(MARKERS).find((each) => text.startsWith(each, at));
  if (!marker || open.has(marker)) return null;
  const from = at + marker.length;
  // It opens before a word, and closes after one: 2 * 3 * 4 is no emphasis, and snake_case_names neither.
  if (/\s/.test(text[from] ?? " ") || WORD.test(text[at - 1] ?? "")) return null;
  let end = text.indexOf(marker, from);
  while (end >= 0 && (end === from || /\s/.test(text[end - 1]) || WORD.test(text[end + marker.length] ?? ""))) end = text.indexOf(marker, end + 1);
  if (end < 0) open.add(marker);
  if (end <= from) return null;
  const Tag = MARKERS[marker];
  return { node: html`<${Tag}>${inline(text.slice(from, end), mentions, depth + 1)}<//>`, end: end + marker.length };
}
