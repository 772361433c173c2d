/** A field to find people with. */
import { find } from "../model/people.js";
import { attempt } from "../model/state.js";
import { html } from "../ui/html.js";
import { t } from "../ui/texts.js";

/** A field to find people with. `onFound` is given users, or null when the field is empty. */
export function Find({ onFound }) {
  const search = async (event) => {
    event.preventDefault();
    const query = String(new FormData(event.currentTarget).get("query")).trim();
    onFound(query ? (await attempt(() => find(query))) ?? null : null);
  };
  return html`
    <form class="find" role="search" aria-label=${t("findPeople")} onSubmit=${search}>
      <input name="query" type="search" placeholder=${t("findPeople")} aria-label=${t("findPeople")} autocomplete="off"
        onInput=${(event) => event.target.value || onFound(null)} />
    </form>`;
}
