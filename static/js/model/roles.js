/** What the user may do in a chat: roles and sanctions. */
import { moment } from "../ui/formats.js";
import { t } from "../ui/texts.js";
import { change } from "./chats.js";
import { me } from "./session.js";
import { changed, state } from "./state.js";

const RANKS = { viewer: 0, readonly: 1, member: 2, moderator: 3, admin: 4, owner: 5 };
// Of setTimeout.
const LONGEST_TIMER_MS = 2 ** 31 - 1;

export const roleIn = (chat, userId = me()) =>
  chat.members.find((each) => each.userId === userId)?.role ?? (userId === me() ? chat.role : undefined) ?? "viewer";
export const manages = (chat) => chat.type !== "direct" && ["owner", "admin"].includes(roleIn(chat));
export const moderates = (chat) => chat.type !== "direct" && ["owner", "admin", "moderator"].includes(roleIn(chat));

/** Whether the user may silence or ban another: a moderator users of a lower role, an owner all. */
export const mayAct = (chat, userId) =>
  moderates(chat) && userId !== me() && (roleIn(chat) === "owner" || RANKS[roleIn(chat)] > RANKS[roleIn(chat, userId)]);

/** The user may not write in a chat until then; a time that has passed ends it. */
export function onSilenced({ chatId, until }) {
  if (state.chats.has(chatId)) change(chatId, { silencedUntil: until });
  // The field comes back when the time is over.
  if (until) setTimeout(changed, Math.min(Date.parse(until) - Date.now() + 50, LONGEST_TIMER_MS));
}

const isSilenced = ({ silencedUntil: until }) => until !== undefined && (until === null || until > new Date().toISOString());

/** Why the user may not write in a chat, or an empty text. */
export function whySilent(chat) {
  const role = roleIn(chat);
  if (role === "readonly") return t("readonly");
  if (isSilenced(chat)) return chat.silencedUntil ? t("silencedUntil", { time: moment(chat.silencedUntil) }) : t("silenced");
  return chat.frozen && !moderates(chat) ? t("frozen") : "";
}

/** Seconds until the user may post again in a chat in slow mode; 0 for now. */
export function slowModeSeconds(chat) {
  const posted = state.posted.get(chat._id);
  if (!chat.slowMode || !posted || moderates(chat)) return 0;
  return Math.max(0, Math.ceil((posted + chat.slowMode * 1000 - Date.now()) / 1000));
}
