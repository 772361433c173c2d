// A chat server as one would write it by hand on Node: Socket.IO and a pool of pg, one transaction a message with the work
// that Bellwire does in its own. Started with a PostgreSQL URL and the size of its pool; prints its port.
import { randomBytes } from "node:crypto";
import { createServer } from "node:http";
import pg from "pg";
import { Server } from "socket.io";

const [url, size] = process.argv.slice(2);
const pool = new pg.Pool({ connectionString: url, max: Number(size) });
await pool.query(`
  CREATE TABLE IF NOT EXISTS peer_chat (id TEXT PRIMARY KEY, head BIGINT NOT NULL);
  CREATE TABLE IF NOT EXISTS peer_message (id TEXT PRIMARY KEY, chat TEXT, seq BIGINT, content TEXT, at TEXT);
  CREATE INDEX IF NOT EXISTS peer_message_by_chat ON peer_message (chat, seq);
  CREATE TABLE IF NOT EXISTS peer_member (chat TEXT, member TEXT, PRIMARY KEY (chat, member));
  CREATE TABLE IF NOT EXISTS peer_sent (member TEXT, key TEXT, message TEXT, PRIMARY KEY (member, key));
  CREATE TABLE IF NOT EXISTS peer_event (chat TEXT, seq BIGINT, document TEXT, PRIMARY KEY (chat, seq));
  CREATE TABLE IF NOT EXISTS peer_outbox (id BIGSERIAL PRIMARY KEY, chat TEXT, seq BIGINT);
`);
// Named, so that the server plans each once a connection.
const statement = (name, text) => (values) => ({ name, text, values });
const sql = {
  member: statement("member", "SELECT 1 FROM peer_member WHERE chat = $1 AND member = $2"),
  next: statement("next",
    "INSERT INTO peer_chat VALUES ($1, 1) ON CONFLICT (id) DO UPDATE SET head = peer_chat.head + 1 RETURNING head"),
  sent: statement("sent", "INSERT INTO peer_sent VALUES ($1, $2, $3)"),
  add: statement("add", "INSERT INTO peer_message VALUES ($1, $2, $3, $4, $5)"),
  log: statement("log", "INSERT INTO peer_event VALUES ($1, $2, $3)"),
  promise: statement("promise", "INSERT INTO peer_outbox (chat, seq) VALUES ($1, $2)"),
};

async function keep(user, message) {
  const client = await pool.connect();
  try {
    await client.query("BEGIN");
    const member = await client.query(sql.member([message.chatId, user]));
    if (!member.rowCount) throw new Error("not a member");
    const seq = Number((await client.query(sql.next([message.chatId]))).rows[0].head);
    await client.query(sql.sent([user, message._id, message._id]));
    await client.query(sql.add([message._id, message.chatId, seq, message.content, new Date().toISOString()]));
    await client.query(sql.log([message.chatId, seq, JSON.stringify({ ...message, seq })]));
    await client.query(sql.promise([message.chatId, seq]));
    await client.query("COMMIT");
    return seq;
  } catch (error) {
    await client.query("ROLLBACK");
    throw error;
  } finally {
    client.release();
  }
}

const http = createServer();
const io = new Server(http, { perMessageDeflate: false });
io.on("connection", (socket) => {
  const { chat } = socket.handshake.query;
  if (chat) {
    socket.join(chat);
    socket.joined = pool.query("INSERT INTO peer_member VALUES ($1, $2) ON CONFLICT DO NOTHING", [chat, socket.id]);
  }
  socket.on("send", async (body, ack) => {
    await socket.joined;
    const message = { ...body, _id: randomBytes(12).toString("hex") };
    message.seq = await keep(socket.id, message);
    io.to(message.chatId).emit("message", message);
    ack(message);
  });
});
http.listen(0, "127.0.0.1", () => console.log(http.address().port));
