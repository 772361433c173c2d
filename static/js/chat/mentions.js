/** Mentions: completing a name after "@", and which members a text names. */
import { moderates } from "../model/roles.js";
import { me } from "../model/session.js";
import { state } from "../model/state.js";
import { fold } from "../ui/fold.js";
import { html, useEffect, useLayoutEffect, useState } from "../ui/html.js";
import { t } from "../ui/texts.js";
import { Avatar } from "./avatar.js";

const OFFERED_MOST = 8;
const LONGEST = 40;
const MENTIONS_MOST = 50;
const WORD = /[\p{L}\p{N}]/u;

/** The word with an "@" before the cursor of a field: `{text, from}`, or null. */
export function wordBefore(field) {
  const before = field.value.slice(Math.max(0, field.selectionStart - LONGEST), field.selectionStart);
  const found = /(?:^|[^\p{L}\p{N}@])@([\p{L}\p{N}][^@\n]*|)$/u.exec(before);
  return found && field.selectionStart === field.selectionEnd ? { text: found[1], from: field.selectionStart - found[1].length - 1 } : null;
}

const others = (chat) => chat.members.filter((each) => each.userId !== me());

/** What `live.send` needs to know of the members that a text names. */
export function mentionsIn(text, chat) {
  if (chat.type === "direct" || !text.includes("@")) return {};
  const names = others(chat).sort((one, other) => other.name.length - one.name.length);
  const found = new Set();
  for (let at = text.indexOf("@"); at >= 0; at = text.indexOf("@", at + 1)) {
    // A whole name, of several the longest, that does not begin within a word.
    const isApart = !WORD.test(text[at - 1] ?? "");
    const named = isApart && names.find(({ name }) => text.startsWith(name, at + 1) && !WORD.test(text[at + 1 + name.length] ?? ""));
    if (named) found.add(named.userId);
  }
  const mentions = [...found].slice(0, MENTIONS_MOST);
  const mentionAll = moderates(chat) && /(^|\s)@all\b/.test(text);
  return { ...(mentions.length && { mentions }), ...(mentionAll && { mentionAll }) };
}

export function Suggestions({ chat, word, field, onChoose, onClose }) {
  const [at, setAt] = useState(0);
  const wanted = fold(word);
  const found = chat.type === "direct" ? [] : others(chat)
    .filter(({ name }) => fold(name).split(/\s+/).some((part, index, parts) => parts.slice(index).join(" ").startsWith(wanted)))
    .slice(0, OFFERED_MOST);
  const chosen = found[Math.min(at, found.length - 1)];
  useEffect(() => setAt(0), [word]);
  // Before the next key, which may be pressed at once.
  useLayoutEffect(() => {
    if (!found.length) return undefined;
    const keyed = (event) => {
      const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      if (step) setAt((now) => (now + step + found.length) % found.length);
      else if (event.key === "Enter" || event.key === "Tab") onChoose(chosen.name);
      else if (event.key === "Escape") onClose();
      else return;
      event.preventDefault();
      event.stopImmediatePropagation();
    };
    field.current.addEventListener("keydown", keyed, true);
    return () => field.current?.removeEventListener("keydown", keyed, true);
  });
  if (!found.length) return null;
  return html`
    <ul class="suggestions" role="listbox" aria-label=${t("members")}>
      ${found.map((each) => html`
        <li key=${each.userId} class="row" role="option" aria-selected=${String(each === chosen)} onMouseDown=${(event) => { event.preventDefault(); onChoose(each.name); }}>
          <${Avatar} id=${each.userId} name=${each.name} url=${state.people.get(each.userId)?.avatarUrl} size="small" /><bdi>${each.name}</bdi></li>`)}
    </ul>`;
}
