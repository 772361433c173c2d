/** Why something failed, in the reader's language. */
import { Refused } from "@bellwire/client";

import { language, t } from "../ui/texts.js";

// Codes of the server, as docs/errors.md lists them, with the text for each.
const REASONS = {
  banned: "bannedHere", silenced: "silenced", frozen: "frozen", links: "linksRefused", slow_mode: "slowModeRefused", listed_word: "wordRefused",
  wrong_credentials: "wrongCredentials", wrong_password: "wrongPassword", weak_password: "weakPassword", account_exists: "accountExists",
  registration_closed: "registrationClosed", local_accounts_disabled: "accountsElsewhere", reset_link_invalid: "resetLinkInvalid",
  invite_invalid: "inviteInvalid", chat_full: "chatFull", last_owner: "lastOwner", last_admin: "lastAdmin", insufficient_credits: "insufficientCredits",
  recipient_inactive: "recipientInactive", already_reported: "alreadyReported", message_deleted: "deleted", storage_full: "storageFull",
  too_large: "tooLarge", unsupported: "typeRefused", too_many: "tooMany", unavailable: "unavailable", internal: "internalError",
  no_invites: "noInvites", unauthenticated: "loginEnded", token_expired: "loginEnded",
};
// Of these the server says more, in English.
const GENERAL = { forbidden: "forbidden", not_found: "notFound", conflict: "conflict", limit_reached: "limitReached", stream_state: "conflict" };

const textOf = (code) => (Object.hasOwn(REASONS, code) ? REASONS[code] : language() !== "en" && Object.hasOwn(GENERAL, code) && GENERAL[code]);

export function reasonOf(error) {
  if (error instanceof Refused) return textOf(error.code) ? t(textOf(error.code)) : error.message;
  return error instanceof TypeError ? t("networkFailed") : t("somethingFailed", { why: error.message });
}
