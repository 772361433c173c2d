/** Reactions to messages. */
import { api, me } from "./session.js";
import { changed, state } from "./state.js";
import { reactInThreads } from "./threads.js";

export function onReactions({ chatId, items }) {
  for (const { messageId, reactions } of items) show(chatId, messageId, reactions);
}

function show(chatId, messageId, reactions, mine) {
  state.timelines.get(chatId)?.react(messageId, reactions, me(), mine);
  reactInThreads(messageId, reactions, me(), mine);
  changed();
}

/** Add the user's reaction, or remove it where it is there. */
export async function react(message, key) {
  const path = `/api/v2/messages/${message._id}/reactions/${encodeURIComponent(key)}`;
  const { reactions, mine } = await (message.mine?.includes(key) ? api.delete(path) : api.put(path));
  show(message.chatId, message._id, reactions, mine);
}
