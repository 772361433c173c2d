/** Writing: text with a draft that stays, emoji, mentions, files, a voice, credits. */
import { draftOf, keepDraft } from "../model/drafts.js";
import { edit, sendText } from "../model/messages.js";
import { nameOf } from "../model/people.js";
import { me } from "../model/session.js";
import { attempt, state } from "../model/state.js";
import { summary } from "../model/summary.js";
import { reportTyping } from "../model/typing.js";
import { html, useEffect, useLayoutEffect, useRef, useState } from "../ui/html.js";
import { icon, iconButton } from "../ui/icons.js";
import { t } from "../ui/texts.js";
import { EmojiPicker } from "./emoji.js";
import { mentionsIn, Suggestions, wordBefore } from "./mentions.js";
import { SlowMode, useSlowMode } from "./moderation.js";
import { Outbox } from "./outbox.js";
import { Transfer } from "./transfer.js";
import { Voice } from "./voice.js";

const TALLEST_PIXELS = 200;

export function Composer({ chat, editing, replying, onDone, onEdit }) {
  const field = useRef();
  const chooser = useRef();
  const [text, setText] = useState(editing ? editing.content ?? "" : draftOf(chat._id));
  const [paying, setPaying] = useState(false);
  const [files, setFiles] = useState([]);
  const [picking, setPicking] = useState(null);
  const [word, setWord] = useState(null);
  const [recording, setRecording] = useState(false);
  const left = useSlowMode(chat);

  useLayoutEffect(() => {
    field.current.style.height = "auto";
    field.current.style.height = `${Math.min(field.current.scrollHeight + 2, TALLEST_PIXELS)}px`;
  }, [text]);
  useEffect(() => { if (editing || replying || matchMedia("(pointer: fine)").matches) field.current.focus(); }, [editing, replying]);

  function write(value) {
    setText(value);
    setWord(wordBefore(field.current));
    if (editing) return;
    keepDraft(chat._id, value);
    if (value) reportTyping(chat._id);
  }

  /** Put a text in the place of the selection, or of `from` up to the cursor. */
  function insert(added, from = field.current.selectionStart) {
    field.current.setRangeText(added, from, field.current.selectionEnd, "end");
    field.current.focus();
    write(field.current.value);
  }

  function submit(event) {
    event.preventDefault();
    const content = text.trim();
    if (!content || (left && !editing)) return;
    if (editing) {
      attempt(async () => { await edit(editing._id, content); onDone(); });
    } else {
      sendText(chat._id, content, { replyTo: replying?._id, ...mentionsIn(content, chat) });
      write("");
      onDone();
    }
  }

  function keyed(event) {
    if (event.defaultPrevented) return;
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) submit(event);
    if (event.key === "Escape") onDone();
    if (event.key === "ArrowUp" && !text && !editing) {
      const last = (state.timelines.get(chat._id)?.pages ?? []).flat().findLast((each) => each.senderId === me() && each.content && !each.deletedAt);
      if (last) { event.preventDefault(); onEdit(last); }
    }
  }

  function add(list) {
    if (left || !list.length) return false;
    setFiles([...files, ...list]);
    return true;
  }

  const about = editing ?? replying;
  return html`
    <div class="above">
      <${Drop} onFiles=${add} />
      ${about && html`
        <p class="about-message"><span><b>${editing ? t("editing") : t("replying")}</b> <bdi>${nameOf(about.senderId)}: ${summary(about)}</bdi></span>
          ${iconButton("close", t("cancel"), onDone)}</p>`}
      <${SlowMode} chat=${chat} left=${left} />
      ${word && html`<${Suggestions} chat=${chat} word=${word.text} field=${field} onChoose=${(name) => insert(`@${name} `, word.from)} onClose=${() => setWord(null)} />`}
    </div>
    <form class="composer" onSubmit=${submit}>
      ${!editing && html`
        <input type="file" multiple hidden ref=${chooser} aria-label=${t("attach")} onChange=${(event) => { add(event.target.files); event.target.value = ""; }} />
        ${iconButton("attach", t("attach"), () => chooser.current.click(), { disabled: left > 0 })}
        ${iconButton("credits", t("sendCredits"), () => setPaying(true), { disabled: left > 0 })}`}
      <textarea ref=${field} name="content" rows="1" dir="auto" placeholder=${t("writeMessage")} aria-label=${t("writeMessage")}
        value=${text} onInput=${(event) => write(event.target.value)} onKeyDown=${keyed}
        onPaste=${(event) => add(event.clipboardData.files) && event.preventDefault()}></textarea>
      ${iconButton("smile", t("emoji"), (event) => setPicking(event.currentTarget))}
      ${(text.trim() || editing) && !recording
        ? html`<button class="plain send" disabled=${left > 0 && !editing} aria-label=${editing ? t("save") : t("send")} title=${editing ? t("save") : t("send")}>${icon(editing ? "check" : "send")}</button>`
        : !left && html`<${Voice} chatId=${chat._id} onRecording=${setRecording} />`}
    </form>
    ${picking && html`<${EmojiPicker} anchor=${picking} onChoose=${insert} onClose=${() => setPicking(null)} />`}
    ${files.length > 0 && html`<${Outbox} chat=${chat} files=${files} text=${text} replyTo=${replying?._id} onChange=${setFiles} onSent=${() => { setFiles([]); write(""); onDone(); }} />`}
    ${paying && html`<${Transfer} chat=${chat} onClose=${() => setPaying(false)} />`}`;
}

/** Files can be dropped anywhere on the conversation. */
function Drop({ onFiles }) {
  const [over, setOver] = useState(false);
  const given = useRef();
  given.current = onFiles;
  useEffect(() => {
    const pane = document.querySelector(".conversation");
    const hasFiles = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
    const dragged = (event) => { if (hasFiles(event)) { event.preventDefault(); setOver(pane.contains(event.target)); } };
    const left = (event) => { if (!event.relatedTarget) setOver(false); };
    // Everywhere: a file that is dropped beside the pane would replace the page.
    const dropped = (event) => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      setOver(false);
      if (pane.contains(event.target)) given.current(event.dataTransfer.files);
    };
    document.addEventListener("dragover", dragged);
    document.addEventListener("dragleave", left);
    document.addEventListener("drop", dropped);
    return () => {
      document.removeEventListener("dragover", dragged);
      document.removeEventListener("dragleave", left);
      document.removeEventListener("drop", dropped);
    };
  }, []);
  return over && html`<div class="drop">${t("dropFiles")}</div>`;
}
