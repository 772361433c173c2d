/** A line between messages: who joined or left, and a new name of the group. */
import { nameOf } from "../model/people.js";
import { me } from "../model/session.js";
import { list } from "../ui/formats.js";
import { html } from "../ui/html.js";
import { t } from "../ui/texts.js";

const NAMES_SHOWN = 4;

export function ChatEvent({ event: { changes, added, removed } }) {
  const others = (ids) => ids.filter((id) => id !== me());
  const lines = [
    added.includes(me()) && t("youJoined"),
    others(added).length > 0 && t("joined", { names: names(others(added)) }),
    removed.includes(me()) && t("youLeft"),
    others(removed).length > 0 && t("left", { names: names(others(removed)), count: others(removed).length }),
    changes.name !== undefined && t("renamed", { name: changes.name }),
  ];
  return lines.filter(Boolean).map((line) => html`<li class="event" key=${line}>${line}</li>`);
}

function names(ids) {
  const shown = ids.length > NAMES_SHOWN + 1 ? ids.slice(0, NAMES_SHOWN) : ids;
  const more = ids.length - shown.length;
  return list([...shown.map(nameOf), ...(more ? [t("others", { count: more })] : [])]);
}
