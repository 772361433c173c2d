/** A thread beside the chat: the message that began it, its replies, and a field for a reply. */
import { waitingIn } from "../model/messages.js";
import { whySilent } from "../model/roles.js";
import { attempt, state } from "../model/state.js";
import { closeThread, openThread, readThread, repliesOf, sendReply } from "../model/threads.js";
import { html, useEffect, useState } from "../ui/html.js";
import { icon, iconButton } from "../ui/icons.js";
import { t } from "../ui/texts.js";
import { mentionsIn } from "./mentions.js";
import { Message } from "./message.js";
import { SlowMode, useSlowMode } from "./moderation.js";
import { WaitingMessage } from "./pending.js";

export function Thread({ chat, begun, shown, onClose }) {
  // As it is now, where the page still has it.
  const root = (state.timelines.get(chat._id)?.pages ?? []).flat().find((each) => each._id === begun._id) ?? begun;
  const timeline = repliesOf(root);
  const [text, setText] = useState("");
  useEffect(() => {
    attempt(() => openThread(root));
    return () => closeThread(root);
  }, [begun._id]);
  useEffect(() => { readThread(root); }, [timeline?.last?._id, document.hidden, state.connection]);
  useEffect(() => { if (shown) document.querySelector(".thread .shown")?.scrollIntoView({ block: "center" }); }, [timeline?.before]);
  const left = useSlowMode(chat);
  const silent = whySilent(chat);

  const submit = (event) => {
    event.preventDefault();
    if (!text.trim() || left) return;
    sendReply(root, text.trim(), mentionsIn(text, chat));
    setText("");
  };
  const waiting = waitingIn(chat._id).filter((each) => each.threadId === begun._id);
  return html`
    <section class="panel" aria-label=${t("thread")} onKeyDown=${(event) => event.key === "Escape" && onClose()}>
      <header><h2>${t("thread")}</h2>${iconButton("close", t("close"), onClose)}</header>
      <ol class=${chat.type === "direct" ? "thread" : "thread in-group"}>
        <${Message} message=${root} chat=${chat} />
        ${root.thread?.replyCount > 0 && html`<li class="count">${t("replies", { count: root.thread.replyCount })}</li>`}
        ${(timeline?.pages ?? []).flat().map((each) => html`<${Message} key=${each._id} message=${each} chat=${chat} inThread shown=${each._id === shown} />`)}
        ${waiting.map((each) => html`<${WaitingMessage} key=${each.clientMessageId} message=${each} />`)}
      </ol>
      ${!root.deletedAt && silent && html`<p class="composer hint">${silent}</p>`}
      ${!root.deletedAt && !silent && html`
        <div class="writing">
          <${SlowMode} chat=${chat} left=${left} />
          <form class="composer" onSubmit=${submit}>
            <input name="reply" dir="auto" autocomplete="off" aria-label=${t("writeReply")} placeholder=${t("writeReply")} autofocus
              value=${text} onInput=${(event) => setText(event.target.value)} />
            <button class="plain send" aria-label=${t("send")} title=${t("send")} disabled=${!text.trim() || left > 0}>${icon("send")}</button>
          </form>
        </div>`}
    </section>`;
}
