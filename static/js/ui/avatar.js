/** The picture of a user or chat. */
import { html } from "./html.js";
import { t } from "./texts.js";

/** The initials of a user without a picture. */
export function Avatar({ name, online }) {
  const letters = [...(name || "?").trim()].filter((_, index, all) => index === 0 || all[index - 1] === " ").slice(0, 2);
  return html`
    <span class=${online ? "avatar online" : "avatar"} aria-hidden="true">${letters.join("").toUpperCase()}</span>
    ${online && html`<span class="unseen">${t("online")}</span>`}`;
}
