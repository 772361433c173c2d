/** Questions to the user: is this what they want, and a line of text. */
import { Dialog } from "./dialog.js";
import { html } from "./html.js";
import { t } from "./texts.js";

const asked = { question: null, onChange: () => {} };

/** `onChange` is called when a question comes or goes. */
export function onQuestion(onChange) {
  asked.onChange = onChange;
}

/**
 * @param {{title: string, text?: string, action: string, danger?: boolean, input?: string, value?: string, more?: any}} question
 *   `input`: the label of a line of text; `more`: form fields
 * @returns {Promise<Record<string, string>|null>} the fields of the form, `text` for the line; null when cancelled
 */
export function ask(question) {
  return new Promise((resolve) => {
    asked.question = { ...question, resolve };
    asked.onChange();
  });
}

/** The question that is open. */
export function Question() {
  const { question } = asked;
  if (!question) return null;
  const end = (answer) => {
    question.resolve(answer);
    if (asked.question === question) asked.question = null;
    asked.onChange();
  };
  const submit = (event) => {
    event.preventDefault();
    end(Object.fromEntries(new FormData(event.target)));
  };
  return html`
    <${Dialog} key=${question.title} title=${question.title} onClose=${() => end(null)}>
      <form onSubmit=${submit}>
        ${question.text && html`<p>${question.text}</p>`}
        ${question.input && html`<label>${question.input}<input name="text" maxlength="1000" required autofocus defaultValue=${question.value ?? ""} /></label>`}
        ${question.more}
        <p class="inline buttons">
          <button type="button" class="quiet" onClick=${(event) => event.target.closest("dialog").close()}>${t("cancel")}</button>
          <button class=${question.danger ? "danger" : ""} autofocus=${!question.input && !question.danger}>${question.action}</button>
        </p>
      </form>
    <//>`;
}
