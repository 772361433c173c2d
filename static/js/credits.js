/** Credits: the balance, what went in and out, and sending some. */
import { loadTransactions, me, nameOf, once, otherOf, sendCredits, state, trying } from "./store.js";
import { t } from "./texts.js";
import { Dialog, html, moment, number, useEffect, useState } from "./view.js";

export function Credits() {
  const { balance, items, cursor } = state.credits;
  useEffect(() => { trying(loadTransactions); }, []);
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
          <b class=${each.amount < 0 ? "less" : "more"}>${each.amount > 0 ? "+" : ""}${number(each.amount)}</b>
        </li>`)}
      ${cursor && html`<li><button type="button" class="plain" onClick=${() => once("transactions", () => loadTransactions(cursor))}>${t("loadMore")}</button></li>`}
    </ul>`;
}

/** Two steps: how much, then whether one is sure. */
export function Transfer({ chat, onClose }) {
  const others = chat.members.filter((each) => each.userId !== me());
  const [to, setTo] = useState((otherOf(chat) ?? others[0])?.userId);
  const [amount, setAmount] = useState("");
  const [sure, setSure] = useState(false);
  const whole = /^[1-9]\d{0,15}$/.test(amount);

  function submit(event) {
    event.preventDefault();
    if (!sure) return setSure(true);
    sendCredits(chat, to, Number(amount));
    return onClose();
  }

  return html`
    <${Dialog} title=${t("sendCredits")} onClose=${onClose}>
      <form onSubmit=${submit}>
        ${sure
          ? html`<p>${t("sendCreditsSure", { amount: number(Number(amount)), name: nameOf(to) })}</p>
              <p class="hint">${t("sendCreditsNote", { balance: number(state.credits.balance ?? 0) })}</p>`
          : html`
            ${chat.type !== "direct" && html`
              <label>${t("to")}<select onChange=${(event) => setTo(event.target.value)}>
                ${others.map((each) => html`<option value=${each.userId} selected=${each.userId === to}>${each.name}</option>`)}
              </select></label>`}
            <label>${t("amount")}
              <input name="amount" inputmode="numeric" required value=${amount} onInput=${(event) => setAmount(event.target.value.trim())} /></label>
            ${amount && !whole && html`<p role="alert">${t("wholeNumber")}</p>`}`}
        <p class="inline">
          <button disabled=${!whole || !to}>${t(sure ? "sendCredits" : "next")}</button>
          <button type="button" class="plain" onClick=${() => (sure ? setSure(false) : onClose())}>${t(sure ? "back" : "cancel")}</button>
        </p>
      </form>
    <//>`;
}
