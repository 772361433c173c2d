/** Credits: the balance, what went in and out, and sending some. */
import { loadTransactions } from "../model/credits.js";
import { nameOf } from "../model/people.js";
import { attempt, once, state } from "../model/state.js";
import { moment, number } from "../ui/formats.js";
import { html, useEffect } from "../ui/html.js";
import { t } from "../ui/texts.js";

export function Credits() {
  const { balance, items, cursor } = state.credits;
  useEffect(() => { attempt(loadTransactions); }, []);
  return html`
    <header><h2>${t("credits")}</h2></header>
    <p class="balance"><span>${t("balance")}</span><b>${balance === null ? "…" : number(balance)}</b></p>
    ${items?.length === 0 && html`<p class="hint">${t("noTransactions")}</p>`}
    <ul class="transactions">
      ${(items ?? []).map((each) => html`
        <li key=${each.id} class="row">
          <span class="about">
            <span class="title">${t(each.type)}${each.userId && html` · <bdi>${nameOf(each.userId)}</bdi>`}</span>
            <span class="hint">${moment(each.createdAt)}${each.reason && html` · <bdi>${each.reason}</bdi>`}</span>
          </span>
          <b class=${each.amount < 0 ? "less" : "more"}>${each.amount < 0 ? "−" : "+"}${number(Math.abs(each.amount))}</b>
        </li>`)}
      ${cursor && html`<li><button type="button" class="plain" onClick=${() => once("transactions", () => loadTransactions(cursor))}>${t("loadMore")}</button></li>`}
    </ul>`;
}
