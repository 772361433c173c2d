/** The chats of open streams: who is a member, and the reactions that rise beside the messages. */
import { changed, state } from "./state.js";

// How many reactions rise at a time, and for how long.
const RISING_MOST = 12;
const RISING_MS = 1_800;

export const isMember = (chat) => chat.role !== "viewer";

/** Whether the user is a member of a chat, rather than a viewer of a room. */
export const isMine = (chat) => chat.type !== "room" || isMember(chat);

/** Reactions that rise now: `{key, number}`. */
export const rising = [];
let number = 0;

export function onStreamReactions({ streamId, counts }) {
  if (!state.watching.has(streamId)) return;
  for (const [key, count] of Object.entries(counts)) {
    for (let left = Math.min(count, RISING_MOST - rising.length); left > 0; left -= 1) {
      const one = { key, number: number += 1 };
      rising.push(one);
      setTimeout(() => { rising.splice(rising.indexOf(one), 1); changed(); }, RISING_MS);
    }
  }
  changed();
}
