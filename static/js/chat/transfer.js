/** Sending credits. */
import { sendCredits } from "../model/credits.js";
import { nameOf, otherOf } from "../model/people.js";
import { me } from "../model/session.js";
import { state } from "../model/state.js";
import { Dialog } from "../ui/dialog.js";
import { number } from "../ui/formats.js";
import { html, useState } from "../ui/html.js";
import { t } from "../ui/texts.js";

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
        <p class="inline buttons">
          <button type="button" class="quiet" onClick=${() => (sure ? setSure(false) : onClose())}>${t(sure ? "back" : "cancel")}</button>
          <button disabled=${!whole || !to}>${t(sure ? "sendCredits" : "next")}</button>
        </p>
      </form>
    <//>`;
}
