/** Forwarding a message: to which chats. */
import { forward } from "../model/messages.js";
import { titleOf } from "../model/people.js";
import { whySilent } from "../model/roles.js";
import { isMine } from "../model/rooms.js";
import { attempt, state } from "../model/state.js";
import { summary } from "../model/summary.js";
import { Dialog } from "../ui/dialog.js";
import { fold } from "../ui/fold.js";
import { html, useState } from "../ui/html.js";
import { say } from "../ui/notice.js";
import { t } from "../ui/texts.js";
import { Avatar } from "./avatar.js";

const CHOSEN_MOST = 10;

export function Forward({ message, onClose }) {
  const [query, setQuery] = useState("");
  const [chosen, setChosen] = useState([]);
  const wanted = fold(query.trim());
  const chats = [...state.chats.values()].filter((chat) => isMine(chat) && !whySilent(chat) && fold(titleOf(chat)).includes(wanted));
  const toggle = (id) => setChosen(chosen.includes(id) ? chosen.filter((each) => each !== id) : [...chosen, id].slice(-CHOSEN_MOST));
  const submit = (event) => {
    event.preventDefault();
    const dialog = event.target.closest("dialog");
    attempt(async () => {
      for (const id of chosen) forward(message, id);
      say(t("forwardedTo", { count: chosen.length }));
      dialog.close();
    });
  };
  return html`
    <${Dialog} title=${t("forward")} onClose=${onClose}>
      <form onSubmit=${submit}>
        <p class="hint preview"><bdi>${summary(message)}</bdi></p>
        <input type="search" autocomplete="off" placeholder=${t("findChats")} aria-label=${t("findChats")} autofocus value=${query}
          onInput=${(event) => setQuery(event.target.value)} />
        <ul class="found">
          ${chats.map((chat) => html`
            <li key=${chat._id}><label class="row">
              <input type="checkbox" checked=${chosen.includes(chat._id)} onChange=${() => toggle(chat._id)} />
              <${Avatar} id=${chat._id} name=${titleOf(chat)} size="small" /><bdi>${titleOf(chat)}</bdi></label></li>`)}
          ${!chats.length && html`<li class="hint">${t("nothingFound")}</li>`}
        </ul>
        <p class="inline buttons"><button type="button" class="quiet" onClick=${(event) => event.target.closest("dialog").close()}>${t("cancel")}</button>
          <button disabled=${!chosen.length}>${t("forward")}</button></p>
      </form>
    <//>`;
}
