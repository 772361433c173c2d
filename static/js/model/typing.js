/** Who is typing: shown, forgotten, and reported to others. */
import { live } from "./session.js";
import { changed, state } from "./state.js";

const SHOWN_MS = 6_000;
const REPORTED_MS = 3_000;

/** A member is typing: shown until six seconds after the last report. */
export function onTyping({ chatId, userId }) {
  if (!state.typing.has(chatId)) state.typing.set(chatId, new Map());
  const who = state.typing.get(chatId);
  clearTimeout(who.get(userId));
  who.set(userId, setTimeout(() => stopTyping(chatId, userId), SHOWN_MS));
  changed();
}

/** Stop showing it: the time is over, or the message has arrived. */
export function stopTyping(chatId, userId) {
  const who = state.typing.get(chatId);
  clearTimeout(who?.get(userId));
  if (who?.delete(userId)) changed();
}

// What was reported last, and until when that is enough.
const reported = { chatId: null, until: 0 };

/** Report that the user is typing, at most every three seconds for the same chat. */
export function reportTyping(chatId) {
  if (reported.chatId === chatId && Date.now() < reported.until) return;
  Object.assign(reported, { chatId, until: Date.now() + REPORTED_MS });
  live.hint("typing", { chatId });
}
