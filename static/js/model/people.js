/** Users: their names and presence, and which of them a chat is with. */
import { t } from "../ui/texts.js";
import { api, live, me } from "./session.js";
import { changed, state } from "./state.js";

const PRESENCE_MOST = 500;
const IDS_AT_ONCE = 50;

export function know(id, facts) {
  const known = state.people.get(id);
  if ((facts.name !== undefined && known?.name !== facts.name) || (facts.avatarUrl && known?.avatarUrl !== facts.avatarUrl)) state.names += 1;
  state.people.set(id, { ...known, ...facts });
  changed();
}

export function knowMembers(members) {
  for (const { userId, name } of members) know(userId, { name });
}

export const nameOf = (id) => (id === me() ? t("you") : state.people.get(id)?.name ?? t("unknownUser"));

/** The other member of a direct chat. */
export const otherOf = (chat) => (chat.type === "direct" ? chat.members.find((each) => each.userId !== me()) : undefined);

export const titleOf = (chat) => chat.name ?? otherOf(chat)?.name ?? t("unknownUser");

/** Watch the presence of those with whom there is a direct chat. */
export async function watchPresence() {
  if (state.connection !== "online") return;
  const others = [...state.chats.values()].map((chat) => otherOf(chat)?.userId).filter(Boolean);
  const userIds = [...new Set(others)].slice(0, PRESENCE_MOST);
  if (!userIds.length) return;
  try {
    for (const { userId, ...facts } of (await live.emit("presence:watch", { userIds })).items) know(userId, facts);
  } catch { /* asked again when the connection is back */ }
}

/** @returns {Promise<import("@bellwire/client").User[]>} */
export async function find(query) {
  const { items } = await api.get(`/api/v1/users?query=${encodeURIComponent(query)}`);
  return items.filter((user) => user.id !== me());
}

/** Load the names and pictures of senders: a chat's document has the names of a hundred members, and no picture. */
export const introduce = (messages) => introduceUsers(messages.map((each) => each.senderId));

/** Load names and pictures that are not known yet. */
export async function introduceUsers(ids) {
  const strangers = [...new Set(ids)].filter((id) => id !== me() && state.people.get(id)?.avatarUrl === undefined);
  for (const id of strangers) state.people.set(id, { ...state.people.get(id), avatarUrl: null });
  while (strangers.length) {
    const some = strangers.splice(0, IDS_AT_ONCE);
    try {
      const { items } = await api.get(`/api/v1/users?ids=${some.join(",")}`);
      for (const { id, name, avatarUrl } of items) know(id, { name, avatarUrl });
    } catch (error) {
      // Asked again the next time.
      for (const id of [...some, ...strangers]) know(id, { avatarUrl: undefined });
      throw error;
    }
  }
}
