/** The processes that serve, as they are now. */
import { moment, number } from "../ui/formats.js";
import { html, useEffect, useState } from "../ui/html.js";
import { t } from "../ui/texts.js";
import { api } from "./access.js";

export function Nodes({ looking }) {
  const [items, setItems] = useState([]);
  useEffect(() => looking(async () => setItems((await api.get("/api/v1/admin/nodes")).items)), []);
  return html`
    <section class="card" aria-label=${t("nodes")}>
      <h2>${t("nodes")}</h2>
      <div class="scrolling" tabindex="0" role="group" aria-label=${t("nodes")}><table class="nowrap">
        <thead><tr><th>${t("place")}</th><th>${t("since")}</th><th class="figure">${t("sockets")}</th><th class="figure">${t("commits")}</th>
          <th class="figure">${t("waitingWrites")}</th><th class="figure">${t("outbox")}</th><th class="figure">${t("memory")}</th></tr></thead>
        <tbody>${items.map(({ id, place, startedAt, figures }) => html`
          <tr key=${id}><td>${place}</td><td>${moment(startedAt)}</td><td class="figure">${number(figures.sockets)}</td><td class="figure">${number(figures.commits)}</td>
            <td class="figure">${number(figures.waiting)}</td><td class="figure">${number(figures.outbox)}</td>
            <td class="figure">${number(Math.round(figures.memory / 2 ** 20))} MiB</td></tr>`)}</tbody>
      </table></div>
      <p class="hint"><a href="/metrics">/metrics</a></p>
    </section>`;
}
