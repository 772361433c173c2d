/** Messages in a few words, for lists and quotes. */
import { number } from "../ui/formats.js";
import { unmarked } from "../ui/markdown.js";
import { t } from "../ui/texts.js";
import { nameOf } from "./people.js";
import { me } from "./session.js";

/** A message in a few words. */
export function summary(message) {
  if (message.type === "creditTransfer") return transfer(message);
  return unmarked(message.content ?? "") || (message.media ? t(message.media.type) : "");
}

/** What moved, from the reader's side. */
export function transfer({ creditTransfer: { amount, senderId, recipientId, reversal } }) {
  if (reversal) return t("creditsReversed", { amount: number(amount) });
  return senderId === me()
    ? t("creditsSent", { amount: number(amount), name: nameOf(recipientId) })
    : t("creditsReceived", { amount: number(amount), name: nameOf(senderId) });
}
