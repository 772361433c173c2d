/** Unsent texts, kept in this browser until they are sent. */
import { me } from "./session.js";
import { changed } from "./state.js";

const placeOf = (chatId) => `bellwire.draft.${me()}.${chatId}`;

export const draftOf = (chatId) => localStorage.getItem(placeOf(chatId)) ?? "";

export function keepDraft(chatId, text) {
  if (text) localStorage.setItem(placeOf(chatId), text); else localStorage.removeItem(placeOf(chatId));
  changed();
}
