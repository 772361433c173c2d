/** The pinned messages of chats. */
import { api } from "./session.js";
import { attempt, changed, state } from "./state.js";

/** Load the pinned messages of a chat: the latest pinned first. */
export const loadPins = (chatId) => attempt(async () => {
  state.pins.set(chatId, (await api.get(`/api/v2/chats/${chatId}/pins`)).items);
  changed();
});

export const pinsOf = (chatId) => state.pins.get(chatId) ?? [];

export const isPinned = (message) => pinsOf(message.chatId).some((each) => each.message._id === message._id);

/** The event that follows has the pins loaded again. */
export const pin = (message) => api.put(`/api/v2/messages/${message._id}/pin`, {});
export const unpin = (message) => api.delete(`/api/v2/messages/${message._id}/pin`);
