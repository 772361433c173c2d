/** Writing: text with a draft that stays, files, a voice, credits. */
import { edit, sendText } from "../model/messages.js";
import { nameOf } from "../model/people.js";
import { me } from "../model/session.js";
import { attempt } from "../model/state.js";
import { reportTyping } from "../model/typing.js";
import { sendFile } from "../model/uploads.js";
import { html, useEffect, useLayoutEffect, useRef, useState } from "../ui/html.js";
import { icon, iconButton } from "../ui/icons.js";
import { t } from "../ui/texts.js";
import { SlowMode, useSlowMode } from "./moderation.js";
import { summary } from "./summary.js";
import { Transfer } from "./transfer.js";
import { Voice } from "./voice.js";

const TALLEST = 160;
const draftOf = (chatId) => `bellwire.draft.${me()}.${chatId}`;

export function Composer({ chat, editing, replying, onDone }) {
  const field = useRef();
  const files = useRef();
  const [text, setText] = useState(editing ? editing.content : localStorage.getItem(draftOf(chat._id)) ?? "");
  const [paying, setPaying] = useState(false);
  const left = useSlowMode(chat);

  useLayoutEffect(() => {
    field.current.style.height = "auto";
    field.current.style.height = `${Math.min(field.current.scrollHeight + 2, TALLEST)}px`;
  }, [text]);
  useEffect(() => { if (editing || replying || matchMedia("(pointer: fine)").matches) field.current.focus(); }, [editing, replying]);

  function write(value) {
    setText(value);
    if (editing) return;
    if (value) localStorage.setItem(draftOf(chat._id), value); else localStorage.removeItem(draftOf(chat._id));
    if (value) reportTyping(chat._id);
  }

  function submit(event) {
    event.preventDefault();
    const content = text.trim();
    if (!content || (left && !editing)) return;
    if (editing) {
      attempt(async () => { await edit(editing._id, content); onDone(); });
    } else {
      sendText(chat._id, content, replying?._id);
      write("");
      onDone();
    }
  }

  function keyed(event) {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) submit(event);
    if (event.key === "Escape") onDone();
  }

  function take(list) {
    if (left) return false;
    for (const file of list) sendFile(chat._id, file);
    return list.length > 0;
  }

  const about = editing ?? replying;
  return html`
    ${about && html`
      <p class="about-message"><b>${editing ? t("edit") : t("reply")}</b> <bdi>${nameOf(about.senderId)}: ${summary(about)}</bdi>
        ${iconButton("close", t("cancel"), onDone)}</p>`}
    <${SlowMode} chat=${chat} left=${left} />
    <form class="composer" onSubmit=${submit} onDragOver=${(event) => event.preventDefault()}
      onDrop=${(event) => { event.preventDefault(); take(event.dataTransfer.files); }}>
      ${!editing && html`
        <input type="file" multiple hidden ref=${files} aria-label=${t("attach")} onChange=${(event) => { take(event.target.files); event.target.value = ""; }} />
        ${iconButton("attach", t("attach"), () => files.current.click(), { disabled: left > 0 })}
        ${iconButton("credits", t("sendCredits"), () => setPaying(true), { disabled: left > 0 })}`}
      <textarea ref=${field} name="content" rows="1" dir="auto" placeholder=${t("writeMessage")} aria-label=${t("writeMessage")}
        value=${text} onInput=${(event) => write(event.target.value)} onKeyDown=${keyed}
        onPaste=${(event) => take(event.clipboardData.files) && event.preventDefault()}></textarea>
      ${text.trim() || editing
        ? html`<button class="plain send" disabled=${left > 0 && !editing} aria-label=${editing ? t("save") : t("send")} title=${editing ? t("save") : t("send")}>${icon("send")}</button>`
        : !left && html`<${Voice} chatId=${chat._id} />`}
    </form>
    ${paying && html`<${Transfer} chat=${chat} onClose=${() => setPaying(false)} />`}`;
}
