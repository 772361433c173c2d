// A chat server as one would write it by hand on Node: Socket.IO and better-sqlite3, committed with fsync before the ack.
// Started with a folder, and "whole" to do what Bellwire does: in the transaction of a message look up the member, remember
// the client's key, write the event into the log and a row into the outbox; at a connection verify the token, read the user,
// the memberships and their heads, join the rooms and answer "ready". With "uws" it serves on uWebSockets.js, if that can be
// loaded. Prints its port.
import { randomBytes } from "node:crypto";
import { createServer } from "node:http";
import Database from "better-sqlite3";
import jwt from "jsonwebtoken";
import { Server } from "socket.io";

const [folder, ...words] = process.argv.slice(2);
const whole = words.includes("whole");
const SECRET = "the secret of a benchmark, which signs nothing else";
const db = new Database(`${folder}/peer.db`);
db.pragma("journal_mode = WAL");
db.pragma("synchronous = FULL");
db.exec(`
  CREATE TABLE chat (id TEXT PRIMARY KEY, head INTEGER NOT NULL);
  CREATE TABLE message (id TEXT PRIMARY KEY, chat TEXT, seq INTEGER, content TEXT, at TEXT);
  CREATE INDEX message_by_chat ON message (chat, seq);
  CREATE TABLE user (id TEXT PRIMARY KEY, status TEXT NOT NULL);
  CREATE TABLE member (chat TEXT, user TEXT, PRIMARY KEY (chat, user));
  CREATE INDEX member_by_user ON member (user);
  CREATE TABLE sent (user TEXT, key TEXT, message TEXT, PRIMARY KEY (user, key));
  CREATE TABLE event (chat TEXT, seq INTEGER, document TEXT, PRIMARY KEY (chat, seq));
  CREATE TABLE outbox (id INTEGER PRIMARY KEY, chat TEXT, seq INTEGER);
`);
const sql = {
  next: db.prepare("INSERT INTO chat VALUES (?, 1) ON CONFLICT (id) DO UPDATE SET head = head + 1 RETURNING head"),
  add: db.prepare("INSERT INTO message VALUES (?, ?, ?, ?, ?)"),
  addUser: db.prepare("INSERT OR IGNORE INTO user VALUES (?, 'active')"),
  addChat: db.prepare("INSERT OR IGNORE INTO chat VALUES (?, 0)"),
  join: db.prepare("INSERT OR IGNORE INTO member VALUES (?, ?)"),
  user: db.prepare("SELECT status FROM user WHERE id = ?"),
  chats: db.prepare("SELECT chat.id, chat.head FROM member JOIN chat ON chat.id = member.chat WHERE member.user = ?"),
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

// The members of chats are sent as [[chat, user], …] before they connect.
const admit = db.transaction((pairs) => {
  for (const [chat, user] of pairs) {
    sql.addUser.run(user);
    sql.addChat.run(chat);
    sql.join.run(chat, user);
  }
});

function listen(io) {
  if (!words.includes("uws")) {
    const http = createServer(async (request, response) => {
      const parts = [];
      for await (const part of request) parts.push(part);
      admit(JSON.parse(Buffer.concat(parts)));
      response.end();
    });
    io.attach(http);
    http.listen(0, "127.0.0.1", () => console.log(http.address().port));
    return;
  }
  const app = uws.App();
  io.attachApp(app);
  app.listen("127.0.0.1", 0, (socket) => console.log(uws.us_socket_local_port(socket)));
}

const uws = words.includes("uws") ? (await import("@trufflesuite/uws-js-unofficial")).default : null;
const io = new Server({ perMessageDeflate: false });
if (whole) {
  io.use((socket, next) => {
    try {
      socket.data.user = jwt.verify(socket.handshake.auth.token, SECRET, { algorithms: ["HS256"] }).sub;
      next(sql.user.get(socket.data.user)?.status === "active" ? undefined : new Error("not a user"));
    } catch (error) {
      next(error);
    }
  });
}
io.on("connection", (socket) => {
  const { chat } = socket.handshake.query;
  if (whole) {
    const heads = {};
    for (const { id, head } of sql.chats.all(socket.data.user)) {
      socket.join(id);
      heads[id] = head;
    }
    socket.emit("ready", { userId: socket.data.user, serverTime: new Date().toISOString(), heads });
  } else if (chat) {
    socket.join(chat);
  }
  socket.on("state", (state, ack) => ack(state));
  socket.on("publish", (message) => io.to(message.chatId).emit("message", message));
  socket.on("send", (body, ack) => {
    const message = { ...body, _id: randomBytes(12).toString("hex") };
    message.seq = keep(socket.data.user ?? socket.id, message);
    io.to(message.chatId).emit("message", message);
    ack(message);
  });
});
listen(io);
