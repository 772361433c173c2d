/** The invite link of a group: copied, and revoked. */
import { inviteLink, revokeLink } from "../model/invites.js";
import { attempt } from "../model/state.js";
import { ask } from "../ui/ask.js";
import { moment } from "../ui/formats.js";
import { html, useState } from "../ui/html.js";
import { say } from "../ui/notice.js";
import { t } from "../ui/texts.js";

export function InviteLink({ chat }) {
  const [link, setLink] = useState(null);
  const load = () => attempt(async () => setLink(await inviteLink(chat._id)));
  // Browsers have a clipboard for pages over HTTPS alone.
  const copy = () => attempt(async () => { await navigator.clipboard.writeText(link.url); say(t("copied")); });
  const revoke = async () => {
    if (!(await ask({ title: t("revokeSure"), text: t("revokeHint"), action: t("revoke"), danger: true }))) return;
    await attempt(async () => { await revokeLink(chat._id); setLink(null); });
  };
  return html`
    <h3>${t("inviteLink")}</h3>
    ${link
      ? html`
        <p class="inline"><input class="link" readonly value=${link.url} aria-label=${t("inviteLink")} onFocus=${(event) => event.target.select()} />
          ${navigator.clipboard && html`<button type="button" onClick=${copy}>${t("copyLink")}</button>`}</p>
        <p class="hint">${t("linkExpires", { time: moment(link.expiresAt) })}</p>
        <p><button type="button" class="danger" onClick=${revoke}>${t("revoke")}</button></p>`
      : html`<p class="hint">${t("inviteHint")}</p><p><button type="button" class="quiet" onClick=${load}>${t("showLink")}</button></p>`}`;
}
