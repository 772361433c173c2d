/** What administrators and moderators have done. */
import { moment } from "../ui/formats.js";
import { html, useEffect, useState } from "../ui/html.js";
import { t } from "../ui/texts.js";
import { address, api } from "./access.js";

const PAGE = 50;

export function Audit({ trying }) {
  const [page, setPage] = useState({ items: [], nextCursor: null });
  const load = (cursor) => trying(async () => {
    const { items, nextCursor } = await api.get(address("/api/v1/admin/audit", { limit: PAGE, cursor }));
    setPage((now) => ({ items: cursor ? [...now.items, ...items] : items, nextCursor }));
  });
  useEffect(() => { load(); }, []);
  return html`
    <section class="card" aria-label=${t("audit")}>
      <h2>${t("audit")}</h2>
      ${!page.items.length && html`<p class="hint">${t("nothingFound")}</p>`}
      <div class="scrolling" tabindex="0" role="group" aria-label=${t("audit")}><table>
        <thead><tr><th>${t("time")}</th><th>${t("action")}</th><th>${t("actor")}</th><th>${t("target")}</th><th>${t("details")}</th></tr></thead>
        <tbody>${page.items.map((each) => html`
          <tr key=${each.id}><td>${moment(each.createdAt)}</td><td>${each.action}</td><td><code>${each.actorId ?? t("operator")}</code></td><td><code>${each.target ?? ""}</code></td>
            <td><code>${Object.keys(each.details).length ? JSON.stringify(each.details) : ""}</code></td></tr>`)}</tbody>
      </table></div>
      ${page.nextCursor && html`<button type="button" class="plain" onClick=${() => load(page.nextCursor)}>${t("loadMore")}</button>`}
    </section>`;
}
