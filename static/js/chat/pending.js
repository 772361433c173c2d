/** Messages that the server has not acknowledged: waiting, refused, uploading. */
import { discard, sendAgain } from "../model/messages.js";
import { number } from "../ui/formats.js";
import { html } from "../ui/html.js";
import { icon } from "../ui/icons.js";
import { t } from "../ui/texts.js";

const draft = (message) =>
  (message.type === "creditTransfer" ? `${t("sendCredits")}: ${number(message.creditTransfer.amount)}` : message.content ?? t("file"));

/** One that is not acknowledged yet. */
export function WaitingMessage({ message }) {
  return html`
    <li class="message mine waiting">
      <p class="content" dir="auto">${draft(message)}</p>
      <footer><span class="mark" role="img" aria-label=${t("waiting")} title=${t("waiting")}>${icon("clock")}</span></footer>
    </li>`;
}

export function RefusedMessage({ message, why }) {
  return html`
    <li class="message mine refused">
      <p class="content" dir="auto">${draft(message)}</p>
      <footer role="alert">${t("notSent", { why })}</footer>
      <footer>
        <button type="button" onClick=${() => sendAgain(message)}>${t("retry")}</button>
        <button type="button" class="quiet" onClick=${() => discard(message)}>${t("discard")}</button>
      </footer>
    </li>`;
}

export function UploadingMessage({ upload }) {
  const percent = Math.round(upload.part * 100);
  return html`
    <li class="message mine waiting">
      <p class="content"><bdi>${t("uploading", { name: upload.name, percent })}</bdi></p>
      <progress max="1" value=${upload.part} aria-label=${upload.name}></progress>
      <footer><button type="button" onClick=${() => upload.cancel.abort()}>${t("cancel")}</button></footer>
    </li>`;
}
