/** Read receipts: what was on the screen is marked as read, and who has read what. */
import { change } from "./chats.js";
import { countUnread } from "./messages.js";
import { live, me } from "./session.js";
import { once, state } from "./state.js";

/** The seq up to which the user has read a chat; undefined where they are no member. */
export const readSeqOf = (chat) => chat.members.find((each) => each.userId === me())?.readSeq;

/** Mark messages as read up to and with this one, unless they are. */
export async function markRead(chat, message) {
  const done = readSeqOf(chat);
  if (state.connection !== "online" || !chat.unreadCount || (done !== undefined && message.seq <= done)) return;
  await once(`read ${chat._id}`, async () => {
    try {
      onReadBy(await live.emit("message:read", { chatId: chat._id, messageId: message._id }));
    } catch { /* marked again with the next message, and when the connection is back */ }
  });
}

/** A member has read up to a message. */
export function onReadBy({ chatId, userId, readSeq }) {
  const chat = state.chats.get(chatId);
  if (!chat) return;
  const members = chat.members.map((each) => (each.userId === userId ? { ...each, readSeq } : each));
  // Replies that only their threads show are not read with the chat.
  const isAll = userId === me() && readSeq >= (chat.lastMessage?.seq ?? 0) && !state.unreadReplies.has(chatId);
  change(chatId, isAll ? { members, unreadCount: 0, mentionCount: 0 } : { members });
  if (userId === me() && !isAll) countUnread({ chatId });
}

/** How many others have read a message of mine; of a hundred members. */
export const readers = (chat, message) =>
  chat.members.filter((each) => each.userId !== message.senderId && each.joinedSeq < message.seq && message.seq <= each.readSeq).length;
