/** Read receipts: what was on the screen is marked as read, and who has read what. */
import { change } from "./chats.js";
import { live, me } from "./session.js";
import { state } from "./state.js";

/** Mark the newest message of the open chat as read, if it is on the screen. */
export async function readNewest() {
  const chat = state.chats.get(state.open);
  const timeline = state.timelines.get(state.open);
  const newest = timeline?.after ? undefined : timeline?.last;
  const looking = !document.hidden && /** @type {HTMLElement|null} */ (document.querySelector(".scroller:not(.away)"))?.offsetParent;
  if (!chat?.unreadCount || !newest || !looking || state.connection !== "online") return;
  try {
    onReadBy(await live.emit("message:read", { chatId: chat._id, messageId: newest._id }));
  } catch { /* sent again with the next message, and when the connection is back */ }
}

/** A member has read up to a message. */
export function onReadBy({ chatId, userId, readSeq }) {
  const chat = state.chats.get(chatId);
  if (!chat) return;
  const members = chat.members.map((each) => (each.userId === userId ? { ...each, readSeq } : each));
  const all = userId === me() && readSeq >= (chat.lastMessage?.seq ?? 0);
  change(chatId, all ? { members, unreadCount: 0 } : { members });
}

/** How many others have read a message of mine; of a hundred members. */
export const readers = (chat, message) =>
  chat.members.filter((each) => each.userId !== message.senderId && each.joinedSeq < message.seq && message.seq <= each.readSeq).length;
