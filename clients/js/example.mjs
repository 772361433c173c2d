// A bot that answers: node example.mjs https://chat.example.org TOKEN
import { Api, Live, Refused } from "@bellwire/client";

const [url, token] = process.argv.slice(2);
const api = new Api({ url });
api.useToken(token);
const live = new Live(api, "example");

live.on("state", (state) => console.log(`connection: ${state}`));
live.on("closed", ({ reason }) => { console.log(`closed: ${reason}`); process.exit(1); });

// The first time, and when events were missed that can't be replayed: read what there is over REST.
live.on("reload", async () => {
  const { items } = await api.get("/api/v2/chats");
  console.log(`${items.length} chats`);
});

live.on("message:new", (message) => {
  if (message.senderId === api.user.id || !message.content) return;
  console.log(`${message.senderId}: ${message.content}`);
  live.send({ type: "text", chatId: message.chatId, content: `You said: ${message.content}` });
});
live.on("sent", (message) => console.log(`sent ${message.seq}`));
live.on("refused", ({ error }) => console.log(`refused: ${error.message}`));

try {
  await api.get("/api/v1/users/me");
  live.connect();
} catch (error) {
  console.error(error instanceof Refused ? `refused: ${error.message}` : error);
}
