/** The user's notifications. */
import { announce } from "../ui/attention.js";
import { say } from "../ui/notice.js";
import { isOn } from "./push.js";
import { api, live } from "./session.js";
import { attempt, changed, state } from "./state.js";

export function onNotification(item) {
  if (state.notifications.items.some((each) => each.id === item.id)) return;
  state.notifications.items = [item, ...state.notifications.items];
  state.notifications.unread += 1;
  say(item.title);
  announce({ title: item.title, body: item.message, href: "#/notifications", tag: item.id }, { isPushed: isOn() });
}

export function onDeleted({ id }) {
  state.notifications.items = state.notifications.items.filter((each) => each.id !== id);
  countNotifications();
}

export function onRead({ ids, all, before }) {
  const isRead = (item) => (all ? item.createdAt <= before : ids.includes(item.id));
  state.notifications.items = state.notifications.items.map((item) => (isRead(item) ? { ...item, read: true } : item));
  countNotifications();
}

/** How many are unread of all, not only of those that were loaded. */
export async function countNotifications() {
  changed();
  await attempt(async () => { state.notifications.unread = (await api.get("/api/v1/notifications/unread-count")).count; });
  changed();
}

export const markRead = (id) => live.emit("notification:read", { id });
export const markAllRead = () => api.post("/api/v1/notifications/read-all");
export const deleteNotification = (id) => api.delete(`/api/v1/notifications/${id}`);

export async function loadMore() {
  const { items, nextCursor } = await api.get(`/api/v1/notifications?limit=30&cursor=${encodeURIComponent(state.notifications.cursor)}`);
  state.notifications.items = [...state.notifications.items, ...items];
  state.notifications.cursor = nextCursor;
  changed();
}
