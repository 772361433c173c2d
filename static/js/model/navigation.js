/** The open chat. */
import { loadChat } from "./chats.js";
import { jumpTo, loadAtUnread } from "./history.js";
import { attempt, changed, once, state } from "./state.js";
import { unwatchStream, watchRoom } from "./streams.js";

/**
 * Show a chat: load its newest messages, unless they are here, or those around a message. What fails is tried again when the
 * connection is back. `chosen`: by the user, who after a jump to older messages wants the newest again.
 */
export async function show(id, { messageId = undefined, chosen = false } = {}) {
  if (id !== state.open) state.unreadAfter = null;
  state.open = id;
  // Opened again, it shows the first unread message, or the newest.
  if (chosen && !messageId && (state.timelines.get(id)?.after || state.chats.get(id)?.unreadCount)) state.timelines.delete(id);
  for (const [streamId, chatId] of state.watching) if (chatId !== id) unwatchStream(streamId);
  changed();
  if (id) await once(`open ${id}`, () => openChat(id));
  if (id && messageId && state.open === id) await attempt(() => jumpTo(id, messageId));
}

/** Load what is missing of a chat. */
export async function openChat(id) {
  if (!state.chats.has(id)) await loadChat(id);
  if (state.chats.get(id).type === "room") await watchRoom(state.chats.get(id));
  if (state.timelines.get(id)?.before === undefined) await loadAtUnread(state.chats.get(id));
}
