/** Invite links of groups. */
import { ask } from "../ui/ask.js";
import { t } from "../ui/texts.js";
import { keep } from "./chats.js";
import { api } from "./session.js";
import { attempt } from "./state.js";

const PREFIX = "#invite=";
let token = "";

/** @returns {Promise<{token: string, url: string, expiresAt: string}>} the link of a group, made where there is none */
export const inviteLink = (id) => api.post(`/api/v2/chats/${id}/invite`);

export const revokeLink = (id) => api.delete(`/api/v2/chats/${id}/invite`);

/** Whether the page was opened by an invite link that waits for the user to log in. */
export const isInvited = () => token !== "";

/** Remember the link by which the page was opened, and remove it from the address. */
export function readInvite() {
  if (!location.hash.startsWith(PREFIX)) return;
  token = decodeURIComponent(location.hash.slice(PREFIX.length));
  history.replaceState(null, "", "/");
}

/** Ask whether the user wants to join the group of the link, and open it. */
export async function offerInvite() {
  if (!token || !api.user) return;
  const invited = token;
  token = "";
  if (!(await ask({ title: t("joinTitle"), text: t("joinHint"), action: t("join") }))) return;
  await attempt(async () => {
    const chat = await api.post(`/api/v2/invites/${encodeURIComponent(invited)}`);
    keep(chat);
    location.hash = `#/chat/${chat._id}`;
  });
}
