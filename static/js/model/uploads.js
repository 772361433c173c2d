/** Files on their way to the server. */
import { newKey, Refused } from "@bellwire/client";

import { say } from "../ui/notice.js";
import { t } from "../ui/texts.js";
import { reasonOf } from "./reasons.js";
import { api, live } from "./session.js";
import { changed, state } from "./state.js";

const RETRY_MS = 2_000;

/** Upload a file, then send it with `more` of a message, such as its `content`. While the network is down it is tried again. */
export async function sendFile(chatId, file, more = {}) {
  const upload = { key: newKey(), chatId, name: file.name, part: 0, cancel: new AbortController() };
  state.uploads.push(upload);
  changed();
  for (let again = true; again;) {
    again = false;
    try {
      const { id } = await api.upload(file, (part) => { upload.part = part; changed(); }, upload.cancel.signal);
      live.send({ type: "media", chatId, file: id, clientMessageId: upload.key, ...more });
    } catch (error) {
      if (error.name === "AbortError") break;
      if (error instanceof Refused && !error.passing) say(t("notSent", { why: reasonOf(error) }));
      else again = await waitToRetry(upload);
    }
  }
  state.uploads = state.uploads.filter((each) => each !== upload);
  changed();
}

/** Whether to try again: not where the user has cancelled. */
async function waitToRetry(upload) {
  upload.part = 0;
  await Promise.race([live.online(), cancelled(upload.cancel.signal)]);
  if (!upload.cancel.signal.aborted) await new Promise((resolve) => { setTimeout(resolve, RETRY_MS); });
  return !upload.cancel.signal.aborted;
}

const cancelled = (signal) => new Promise((resolve) => { signal.addEventListener("abort", resolve); });
