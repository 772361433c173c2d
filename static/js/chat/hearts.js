/** The chat of an open stream: how many watch it, and their reactions. */
import { rising } from "../model/rooms.js";
import { live } from "../model/session.js";
import { streamOf } from "../model/streams.js";
import { html, useEffect, useState } from "../ui/html.js";
import { t } from "../ui/texts.js";

export const HEART = "❤️";
// Taps of a moment go in one call, which may have so many.
const TAPS_TOGETHER = 300;
const TAPS_MOST = 20;
/** The number of viewers. */
export function Viewers({ chat }) {
  const stream = streamOf(chat);
  return html`${t("viewers", { count: stream?.viewers ?? 0 })}`;
}

/** A button to react with, and the reactions of all. */
export function Hearts({ chat }) {
  const stream = streamOf(chat);
  const [taps, setTaps] = useState(0);
  useEffect(() => {
    if (!taps) return undefined;
    const send = () => { live.hint("stream:react", { streamId: stream?.id, key: HEART, count: taps }); setTaps(0); };
    const timer = setTimeout(send, taps >= TAPS_MOST ? 0 : TAPS_TOGETHER);
    return () => clearTimeout(timer);
  }, [taps]);
  if (!stream) return null;
  return html`
    <div class="hearts">
      <span aria-hidden="true">${rising.map((each) => html`<i key=${each.number} style=${`--way: ${(each.number * 37) % 100}`}>${each.key}</i>`)}</span>
      <button type="button" class="plain" aria-label=${t("sendHeart")} title=${t("sendHeart")}
        onClick=${() => setTaps(Math.min(taps + 1, TAPS_MOST))}>${HEART}</button>
    </div>`;
}
