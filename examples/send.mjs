// Sends messages into a chat, each when the last was acknowledged, with the official client.
//
// npm install socket.io-client && node examples/send.mjs http://127.0.0.1:8080 TOKEN CHAT 1000
import { io } from "socket.io-client";

const [url, token, chat, messages = "100"] = process.argv.slice(2);
const socket = io(`${url}/chat`, { auth: { token, v: 1 }, transports: ["websocket"] });

socket.on("connect_error", (error) => {
  console.error(error.message);
  process.exit(1);
});
socket.once("session:ready", async () => {
  const began = performance.now();
  for (let number = 0; number < +messages; number++) {
    const body = { type: "text", chatId: chat, content: `message ${number}` };
    const answer = await socket.timeout(10_000).emitWithAck("message:send", body);
    if (!answer.isSuccess) throw new Error(answer.errors.join(", "));
  }
  const seconds = (performance.now() - began) / 1000;
  console.log(`${messages} messages, ${Math.round(messages / seconds)} a second`);
  socket.disconnect();
});
