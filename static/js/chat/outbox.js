/** Files that were chosen, before they are sent: what they are, and a caption. */
import { sendFile } from "../model/uploads.js";
import { Dialog } from "../ui/dialog.js";
import { bytes } from "../ui/formats.js";
import { html, useEffect, useState } from "../ui/html.js";
import { icon, iconButton } from "../ui/icons.js";
import { t } from "../ui/texts.js";
import { mentionsIn } from "./mentions.js";

/** The caption begins with `text`, and goes with the first file. */
export function Outbox({ chat, files, text, replyTo, onChange, onSent }) {
  const submit = (event) => {
    event.preventDefault();
    const caption = String(new FormData(event.target).get("caption")).trim();
    files.forEach((file, index) => sendFile(chat._id, file, index === 0 ? { ...(caption && { content: caption, ...mentionsIn(caption, chat) }), ...(replyTo && { replyTo }) } : {}));
    onSent();
  };
  return html`
    <${Dialog} title=${t("sendFiles", { count: files.length })} onClose=${() => onChange([])}>
      <form onSubmit=${submit}>
        <div class="files">
          ${files.map((file) => html`
            <figure key=${`${file.name} ${file.size} ${file.lastModified}`}>
              <${Preview} file=${file} /><figcaption title=${file.name}><bdi>${file.name}</bdi></figcaption><span class="hint">${bytes(file.size)}</span>
              ${iconButton("close", t("remove", { name: file.name }), () => onChange(files.filter((each) => each !== file)))}
            </figure>`)}
        </div>
        <label>${t("caption")}<input name="caption" dir="auto" autocomplete="off" autofocus defaultValue=${text} /></label>
        <p class="inline buttons"><button type="button" class="quiet" onClick=${(event) => event.target.closest("dialog").close()}>${t("cancel")}</button>
          <button>${t("send")}</button></p>
      </form>
    <//>`;
}

function Preview({ file }) {
  const [source, setSource] = useState(null);
  useEffect(() => {
    if (!/^image\/(png|jpeg|gif|webp)$/.test(file.type)) return undefined;
    const url = URL.createObjectURL(file);
    setSource(url);
    return () => URL.revokeObjectURL(url);
  }, [file]);
  return source ? html`<img src=${source} alt="" />` : icon("file");
}
