/** Invite links of groups. */
import { ask } from "../ui/ask.js";
import { t } from "../ui/texts.js";
import { keep } from "./chats.js";
import { api } from "./session.js";
import { attempt } from "./state.js";

const PREFIX = "#invite=";
// In the session's storage, so that reloading the page keeps it.
const KEPT = "bellwire.invite";

/** @returns {Promise<{token: string, url: string, expiresAt: string}>} the link of a group, made where there is none */
export const inviteLink = (id) => api.post(`/api/v2/chats/${id}/invite`);

export const revokeLink = (id) => api.delete(`/api/v2/chats/${id}/invite`);

/** Whether the page was opened by an invite link that waits for the user to log in. */
export const isInvited = () => sessionStorage.getItem(KEPT) !== null;

/** Remember the link by which the page was opened, and remove it from the address. */
export function readInvite() {
  if (!location.hash.startsWith(PREFIX)) return;
  sessionStorage.setItem(KEPT, location.hash.slice(PREFIX.length));
  history.replaceState(null, "", "/");
}

/** Ask whether the user wants to join the group of the link, and open it. */
export async function offerInvite() {
  const token = sessionStorage.getItem(KEPT);
  if (token === null || !api.user) return;
  sessionStorage.removeItem(KEPT);
  if (!(await ask({ title: t("joinTitle"), text: t("joinHint"), action: t("join") }))) return;
  await attempt(async () => {
    const chat = await api.post(`/api/v2/invites/${encodeURIComponent(token)}`);
    keep(chat);
    location.hash = `#/chat/${chat._id}`;
  });
}
