/** Pushes: how many are sent, and those that failed. */
import { moment } from "../ui/formats.js";
import { html, useEffect, useState } from "../ui/html.js";
import { t } from "../ui/texts.js";
import { address, api } from "./access.js";
import { Plots, PUSH_PLOTS } from "./overview.js";

const LOOK_MS = 10_000;
const PAGE = 50;

export const Pushes = ({ trying, looking }) => html`
  <${Plots} plots=${PUSH_PLOTS} looking=${looking} label=${t("pushes")} />
  <${DeadLetters} trying=${trying} looking=${looking} />`;

function DeadLetters({ trying, looking }) {
  const [page, setPage] = useState({ items: [], nextCursor: null });
  const [filter, setFilter] = useState("");
  const [said, setSaid] = useState("");
  const get = (cursor) => api.get(address("/api/v1/admin/push/dead-letters", { limit: PAGE, cursor }));
  const load = async () => { const first = await get(); setPage((now) => (now.items.length > PAGE ? now : first)); };
  const again = (items) => trying(async () => {
    for (const item of items) await api.post(`/api/v1/admin/push/dead-letters/${item.id}/retry`);
    setSaid(t("retried"));
    setPage(await get());
  });
  const more = () => trying(async () => {
    const { items, nextCursor } = await get(page.nextCursor);
    setPage((now) => ({ items: [...now.items, ...items], nextCursor }));
  });
  useEffect(() => looking(load, LOOK_MS), []);
  const reasons = [...new Set(page.items.map((item) => item.reason ?? ""))];
  const shown = page.items.filter((item) => !filter || (item.reason ?? "") === filter);
  return html`
    <section class="card" aria-label=${t("deadLetters")}>
      <header class="inline"><h2>${t("deadLetters")}</h2>
        ${reasons.length > 1 && html`<select aria-label=${t("reason")} value=${filter} onChange=${(event) => setFilter(event.target.value)}>
          <option value="">${t("allReasons")}</option>${reasons.map((each) => html`<option value=${each}>${each}</option>`)}</select>`}
        ${shown.length > 1 && html`<button type="button" class="quiet" onClick=${() => again(shown)}>${t("retryAll", { count: shown.length })}</button>`}</header>
      ${shown.length ? html`<${PushTable} items=${shown} onRetry=${(item) => again([item])} />` : html`<p class="hint">${t("noDeadLetters")}</p>`}
      ${page.nextCursor && html`<button type="button" class="plain" onClick=${more}>${t("loadMore")}</button>`}
      <p role="status">${said}</p>
    </section>`;
}

export function PushTable({ items, onRetry }) {
  if (!items.length) return html`<p class="hint">${t("nothingFound")}</p>`;
  return html`
    <div class="scrolling" tabindex="0" role="group" aria-label=${t("deadLetters")}><table>
      <thead><tr><th>${t("kind")}</th><th>${t("status")}</th><th class="figure">${t("tries")}</th><th></th></tr></thead>
      <tbody>${items.map((item) => html`
        <tr key=${item.id}><td>${item.kind}, ${item.provider}<br /><span class="hint">${moment(item.createdAt)} · ${item.userId}</span></td>
          <td>${item.state} ${item.status ?? ""} ${item.reason ?? ""}</td><td class="figure">${item.attempts}</td>
          <td>${onRetry && html`<button type="button" class="plain" onClick=${() => onRetry(item)}>${t("retry")}</button>`}</td></tr>`)}
      </tbody>
    </table></div>`;
}
