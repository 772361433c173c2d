/** Making a group. */
import { Dialog } from "../ui/dialog.js";
import { html, useState } from "../ui/html.js";
import { t } from "../ui/texts.js";
import { Find } from "./find.js";

export function NewGroup({ onClose, onCreate }) {
  const [found, setFound] = useState(null);
  const [members, setMembers] = useState([]);
  const toggle = (user) => setMembers(members.some(({ id }) => id === user.id) ? members.filter(({ id }) => id !== user.id) : [...members, user]);
  const create = (event) => {
    event.preventDefault();
    onCreate(new FormData(event.target).get("name"), members.map(({ id }) => id));
  };
  const shown = [...members, ...(found ?? []).filter((user) => !members.some(({ id }) => id === user.id))];
  return html`
    <${Dialog} title=${t("newGroup")} onClose=${onClose}>
      <${Find} onFound=${setFound} />
      <ul class="found">
        ${shown.map((user) => html`
          <li key=${user.id}><label class="row">
            <input type="checkbox" checked=${members.some(({ id }) => id === user.id)} onChange=${() => toggle(user)} />
            <bdi>${user.name}</bdi></label></li>`)}
      </ul>
      <form onSubmit=${create}>
        <label>${t("groupName")}<input name="name" maxlength="255" required /></label>
        <p class="inline buttons">
          <button type="button" class="quiet" onClick=${(event) => event.target.closest("dialog").close()}>${t("cancel")}</button>
          <button disabled=${!members.length}>${t("create")}</button>
        </p>
      </form>
    <//>`;
}
