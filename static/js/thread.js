/** A thread in a dialog: the message that began it, its replies, and a field for one's own. */
import { Message } from "./message.js";
import { state, trying, waitingIn } from "./store.js";
import { t } from "./texts.js";
import { closeThread, openThread, readThread, repliesOf, sendReply } from "./threads.js";
import { Dialog, html, iconButton, useEffect, useState } from "./view.js";

export function Thread({ chat, begun, onClose }) {
  // As it is now, where the page still has it.
  const root = (state.timelines.get(chat._id)?.pages ?? []).flat().find((each) => each._id === begun._id) ?? begun;
  const timeline = repliesOf(root);
  const [text, setText] = useState("");
  useEffect(() => {
    trying(() => openThread(root));
    return () => closeThread(root);
  }, [begun._id]);
  useEffect(() => { readThread(root); }, [timeline?.last?._id]);

  const submit = (event) => {
    event.preventDefault();
    if (!text.trim()) return;
    sendReply(root, text.trim());
    setText("");
  };
  const waiting = waitingIn(chat._id).filter((each) => each.threadId === begun._id);
  return html`
    <${Dialog} title=${t("thread")} onClose=${onClose}>
      <ol class="part thread">
        <${Message} message=${root} chat=${chat} />
        ${(timeline?.pages ?? []).flat().map((each) => html`<${Message} key=${each._id} message=${each} chat=${chat} inThread />`)}
        ${waiting.map((each) => html`<li class="message mine waiting" key=${each.clientMessageId}><p class="content" dir="auto">${each.content}</p></li>`)}
      </ol>
      ${!root.deletedAt && html`
        <form class="inline" onSubmit=${submit}>
          <input name="reply" dir="auto" autocomplete="off" aria-label=${t("writeReply")} placeholder=${t("writeReply")}
            value=${text} onInput=${(event) => setText(event.target.value)} />
          ${iconButton("send", t("send"), submit)}
        </form>`}
    </${Dialog}>`;
}
