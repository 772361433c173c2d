/** The picture of a user or chat: the one that was uploaded, or initials on a colour. */
import { picture } from "../model/pictures.js";
import { html, useEffect, useState } from "../ui/html.js";
import { language, t } from "../ui/texts.js";

const HUES = 8;

/** The class of a user's or chat's colour, always the same for an id. */
export function hueOf(id = "") {
  let sum = 0;
  for (const unit of id) sum = (sum * 31 + /** @type {number} */ (unit.codePointAt(0))) % 65_521;
  return `hue-${sum % HUES}`;
}

function initials(name) {
  const words = (name || "?").trim().split(/\s+/);
  const ends = words.length > 1 ? [words[0], words.at(-1)] : words;
  return ends.map((word) => [...word][0] ?? "").join("").toLocaleUpperCase(language());
}

/** @param {{id?: string, name?: string, url?: string|null, online?: boolean, size?: ""|"small"|"large"}} props `url` on this server */
export function Avatar({ id, name, url, online = false, size = "" }) {
  const [source, setSource] = useState(null);
  useEffect(() => {
    let here = true;
    setSource(null);
    // Pictures of other servers are not loaded: they would show the reader's address to them.
    if (url && new URL(url, location.href).pathname.startsWith("/api/")) picture(url).then((found) => here && setSource(found));
    return () => { here = false; };
  }, [url]);
  const classes = ["avatar", hueOf(id ?? name), size, online && "online"].filter(Boolean).join(" ");
  return html`
    <span class=${classes} aria-hidden="true">${source ? html`<img src=${source} alt="" />` : initials(name)}</span>
    ${online && html`<span class="unseen">${t("online")}</span>`}`;
}
