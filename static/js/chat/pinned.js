/** The pinned messages above a chat: the latest, and all of them. */
import { nameOf } from "../model/people.js";
import { loadPins, pinsOf, unpin } from "../model/pins.js";
import { moderates } from "../model/roles.js";
import { attempt } from "../model/state.js";
import { summary } from "../model/summary.js";
import { Dialog } from "../ui/dialog.js";
import { html, useEffect, useState } from "../ui/html.js";
import { icon, iconButton } from "../ui/icons.js";
import { t } from "../ui/texts.js";

export function Pinned({ chat }) {
  const [all, setAll] = useState(false);
  const pins = pinsOf(chat._id);
  useEffect(() => { loadPins(chat._id); }, [chat._id]);
  if (!pins.length) return null;
  const entry = ({ message }) => html`
    <a class="row" href=${`#/chat/${chat._id}/${message._id}`} onClick=${() => setAll(false)}>
      <span class="about"><span class="preview"><bdi>${nameOf(message.senderId)}</bdi>: <bdi>${message.deletedAt ? t("deleted") : summary(message)}</bdi></span></span></a>`;
  return html`
    <div class="pinned" role="region" aria-label=${t("pinnedMessages")}>
      ${icon("pin")}${entry(pins[0])}
      ${pins.length > 1 && html`<button type="button" class="plain" onClick=${() => setAll(true)}>${t("allPins", { count: pins.length })}</button>`}
      ${pins.length === 1 && (chat.type === "direct" || moderates(chat)) && iconButton("close", t("unpin"), () => attempt(() => unpin(pins[0].message)))}
    </div>
    ${all && html`
      <${Dialog} title=${t("pinnedMessages")} onClose=${() => setAll(false)}>
        <ul class="found">${pins.map((each) => html`
          <li class="inline" key=${each.message._id}>${entry(each)}
            ${(chat.type === "direct" || moderates(chat)) && iconButton("unpin", t("unpin"), () => attempt(() => unpin(each.message)))}</li>`)}</ul>
      <//>`}`;
}
