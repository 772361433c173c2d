// A chat server as one would write it by hand on Node: Socket.IO and better-sqlite3, committed with fsync before the ack.
// Started with a folder, and "whole" to do in its transaction what Bellwire does in its own: look up the member, remember
// the client's key, write the event into the log and a row into the outbox. Prints its port.
import { randomBytes } from "node:crypto";
import { createServer } from "node:http";
import Database from "better-sqlite3";
import { Server } from "socket.io";

const [folder, ...words] = process.argv.slice(2);
const whole = words.includes("whole");
const db = new Database(`${folder}/peer.db`);
db.pragma("journal_mode = WAL");
db.pragma("synchronous = FULL");
db.exec(`
  CREATE TABLE chat (id TEXT PRIMARY KEY, head INTEGER NOT NULL);
  CREATE TABLE message (id TEXT PRIMARY KEY, chat TEXT, seq INTEGER, content TEXT, at TEXT);
  CREATE INDEX message_by_chat ON message (chat, seq);
  CREATE TABLE member (chat TEXT, user TEXT, PRIMARY KEY (chat, user));
  CREATE TABLE sent (user TEXT, key TEXT, message TEXT, PRIMARY KEY (user, key));
  CREATE TABLE event (chat TEXT, seq INTEGER, document TEXT, PRIMARY KEY (chat, seq));
  CREATE TABLE outbox (id INTEGER PRIMARY KEY, chat TEXT, seq INTEGER);
`);
const sql = {
  next: db.prepare("INSERT INTO chat VALUES (?, 1) ON CONFLICT (id) DO UPDATE SET head = head + 1 RETURNING head"),
  add: db.prepare("INSERT INTO message VALUES (?, ?, ?, ?, ?)"),
  join: db.prepare("INSERT OR IGNORE INTO member VALUES (?, ?)"),
  isMember: db.prepare("SELECT 1 FROM member WHERE chat = ? AND user = ?"),
  remember: db.prepare("INSERT INTO sent VALUES (?, ?, ?)"),
  log: db.prepare("INSERT INTO event VALUES (?, ?, ?)"),
  promise: db.prepare("INSERT INTO outbox (chat, seq) VALUES (?, ?)"),
};

const keep = db.transaction((user, message) => {
  const seq = sql.next.get(message.chatId).head;
  if (whole) {
    if (!sql.isMember.get(message.chatId, user)) throw new Error("not a member");
    sql.remember.run(user, message._id, message._id);
    sql.log.run(message.chatId, seq, JSON.stringify({ ...message, seq }));
    sql.promise.run(message.chatId, seq);
  }
  sql.add.run(message._id, message.chatId, seq, message.content, new Date().toISOString());
  return seq;
});

const http = createServer();
const io = new Server(http, { perMessageDeflate: false });
io.on("connection", (socket) => {
  const { chat } = socket.handshake.query;
  if (chat) {
    socket.join(chat);
    if (whole) sql.join.run(chat, socket.id);
  }
  socket.on("state", (state, ack) => ack(state));
  socket.on("publish", (message) => io.to(message.chatId).emit("message", message));
  socket.on("send", (body, ack) => {
    const message = { ...body, _id: randomBytes(12).toString("hex") };
    message.seq = keep(socket.id, message);
    io.to(message.chatId).emit("message", message);
    ack(message);
  });
});
http.listen(0, "127.0.0.1", () => console.log(http.address().port));
