/** A thread in a dialog: the message that began it, its replies, and a field for one's own. */
import { waitingIn } from "../model/messages.js";
import { whySilent } from "../model/roles.js";
import { attempt, state } from "../model/state.js";
import { closeThread, openThread, readThread, repliesOf, sendReply } from "../model/threads.js";
import { Dialog } from "../ui/dialog.js";
import { html, useEffect, useState } from "../ui/html.js";
import { iconButton } from "../ui/icons.js";
import { t } from "../ui/texts.js";
import { Message } from "./message.js";
import { SlowMode, useSlowMode } from "./moderation.js";

export function Thread({ chat, begun, shown, onClose }) {
  // As it is now, where the page still has it.
  const root = (state.timelines.get(chat._id)?.pages ?? []).flat().find((each) => each._id === begun._id) ?? begun;
  const timeline = repliesOf(root);
  const [text, setText] = useState("");
  useEffect(() => {
    attempt(() => openThread(root));
    return () => closeThread(root);
  }, [begun._id]);
  useEffect(() => { readThread(root); }, [timeline?.last?._id]);
  useEffect(() => { if (shown) document.querySelector(".thread .shown")?.scrollIntoView({ block: "center" }); }, [timeline?.before]);
  const left = useSlowMode(chat);
  const silent = whySilent(chat);

  const submit = (event) => {
    event.preventDefault();
    if (!text.trim() || left) return;
    sendReply(root, text.trim());
    setText("");
  };
  const waiting = waitingIn(chat._id).filter((each) => each.threadId === begun._id);
  return html`
    <${Dialog} title=${t("thread")} onClose=${onClose}>
      <ol class="part thread">
        <${Message} message=${root} chat=${chat} />
        ${(timeline?.pages ?? []).flat().map((each) => html`<${Message} key=${each._id} message=${each} chat=${chat} inThread shown=${each._id === shown} />`)}
        ${waiting.map((each) => html`<li class="message mine waiting" key=${each.clientMessageId}><p class="content" dir="auto">${each.content}</p></li>`)}
      </ol>
      ${!root.deletedAt && silent && html`<p class="hint">${silent}</p>`}
      ${!root.deletedAt && !silent && html`
        <${SlowMode} chat=${chat} left=${left} />
        <form class="inline" onSubmit=${submit}>
          <input name="reply" dir="auto" autocomplete="off" aria-label=${t("writeReply")} placeholder=${t("writeReply")}
            value=${text} onInput=${(event) => setText(event.target.value)} />
          ${iconButton("send", t("send"), submit)}
        </form>`}
    </${Dialog}>`;
}
