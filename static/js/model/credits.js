/** The user's credits. */
import { api, live } from "./session.js";
import { attempt, changed, state } from "./state.js";

export function onBalance({ balance }) {
  state.credits.balance = balance;
  if (state.credits.items) attempt(loadTransactions);
  changed();
}

export async function loadTransactions(cursor) {
  const { items, nextCursor } = await api.get(`/api/v1/credits/transactions?limit=30${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ""}`);
  state.credits.items = cursor ? [...state.credits.items, ...items] : items;
  state.credits.cursor = nextCursor;
  changed();
}

export function sendCredits(chat, userId, amount) {
  live.send({ type: "creditTransfer", chatId: chat._id, targetUserId: userId, creditTransfer: { amount } });
}
