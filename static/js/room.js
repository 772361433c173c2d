/** The chat of an open stream: how many watch it, their reactions, and who may write. */
import { moderates, roleIn } from "./moderation.js";
import { change, changed, keepStream, live, loadStreams, state, watchStream } from "./store.js";
import { t } from "./texts.js";
import { html, moment, useEffect, useState } from "./view.js";

export const HEART = "❤️";
// Taps of a moment go in one call, which may have so many.
const TAPS_TOGETHER = 300;
const TAPS_MOST = 20;
// How many reactions float at a time, and for how long.
const FLOATING_MOST = 12;
const FLOATING_FOR = 1_800;
// Of setTimeout, in milliseconds.
const LONGEST_TIMER = 2 ** 31 - 1;

/** The stream whose chat this is, where it is open. @returns {import("./bellwire.js").Stream|undefined} */
export const streamOf = (chat) => state.streams.items?.find((each) => each.chatId === chat._id && each.audience === "open");

export const isMember = (chat) => chat.role !== "viewer";

/** Whether a chat is one's own: a room that one only looks into is not. */
export const isMine = (chat) => chat.type !== "room" || isMember(chat);

/** Watch the stream of a room that was opened by its address. */
export async function watchRoom(chat) {
  if ([...state.watching.values()].includes(chat._id)) return;
  if (!streamOf(chat)) await loadStreams();
  const stream = streamOf(chat);
  if (stream) await watchStream(stream.id);
}

export function viewersChanged({ streamId, viewers, peak }) {
  const stream = state.streams.items?.find((each) => each.id === streamId);
  if (stream) keepStream({ ...stream, viewers, peak });
}

const floating = [];
let number = 0;

/** Show reactions of others for a moment. */
export function reacted({ streamId, counts }) {
  if (!state.watching.has(streamId)) return;
  for (const [key, count] of Object.entries(counts)) {
    for (let left = Math.min(count, FLOATING_MOST - floating.length); left > 0; left -= 1) {
      const one = { key, number: number += 1 };
      floating.push(one);
      setTimeout(() => { floating.splice(floating.indexOf(one), 1); changed(); }, FLOATING_FOR);
    }
  }
  changed();
}

/** The user may not write in a chat until then; a time that is over ends it. */
export function silenced({ chatId, until }) {
  if (state.chats.has(chatId)) change(chatId, { silencedUntil: until });
  // The field comes back when the time is over.
  if (until) setTimeout(changed, Math.min(Date.parse(until) - Date.now() + 50, LONGEST_TIMER));
}

const isSilenced = ({ silencedUntil: until }) => until !== undefined && (until === null || until > new Date().toISOString());

/** Why one may not write in a chat, or an empty text. */
export function whySilent(chat) {
  const role = roleIn(chat);
  if (role === "readonly") return t("readonly");
  if (isSilenced(chat)) return chat.silencedUntil ? t("silencedUntil", { time: moment(chat.silencedUntil) }) : t("silenced");
  return chat.frozen && !moderates(chat) ? t("frozen") : "";
}

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
      <span aria-hidden="true">${floating.map((each) => html`<i key=${each.number} style=${`--way: ${(each.number * 37) % 100}`}>${each.key}</i>`)}</span>
      <button type="button" class="plain" aria-label=${t("sendHeart")} title=${t("sendHeart")}
        onClick=${() => setTaps(Math.min(taps + 1, TAPS_MOST))}>${HEART}</button>
    </div>`;
}
