// A first page: log in, find somebody, chat. Everything from others is shown as text.
import { Api, Live } from "./bellwire.js";

const $ = (id) => document.getElementById(id);
const api = new Api(localStorage);
const chats = new Map();
const people = new Map();
let live = null;
let open = null;
let typingUntil = 0;

$("login").addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = new FormData(event.target, event.submitter);
  const body = { email: form.get("email"), password: form.get("password") };
  if (form.get("action") === "register" && form.get("name")) body.name = form.get("name");
  try {
    await api.enter(form.get("action"), body);
    await start();
  } catch (error) {
    $("problem").textContent = error.message;
  }
});

$("logout").addEventListener("click", async () => {
  await api.logout().catch(() => {});
  location.reload();
});

$("find").addEventListener("submit", async (event) => {
  event.preventDefault();
  const query = new FormData(event.target).get("query").trim();
  const found = query ? (await api.get(`/api/v1/users?query=${encodeURIComponent(query)}`)).items : [];
  $("found").replaceChildren(...found.filter((user) => user.id !== api.user.id).map((user) => {
    people.set(user.id, user.name);
    return entry(user.name, async () => {
      const chat = await api.post("/api/v2/chats", { type: "direct", memberIds: [user.id] });
      $("found").replaceChildren();
      event.target.reset();
      keep(chat);
      await show(chat._id);
    });
  }));
});

$("send").addEventListener("submit", (event) => {
  event.preventDefault();
  const content = new FormData(event.target).get("content");
  if (!open || !content.trim()) return;
  event.target.reset();
  const key = crypto.randomUUID?.() ?? String(Math.random()).slice(2);
  const line = draw({ content, senderId: api.user.id, _id: key });
  line.classList.add("waiting");
  live.send({ type: "text", chatId: open, content, clientMessageId: key })
    .then((message) => { line.remove(); arrived(message); })
    .catch((error) => { line.title = error.message; line.textContent += " ⚠"; });
});

$("send").addEventListener("input", () => {
  if (open && Date.now() > typingUntil) {
    typingUntil = Date.now() + 3000;
    live.socket.emit("typing", { chatId: open });
  }
});

async function start() {
  $("enter").hidden = true;
  $("chat").hidden = $("logout").hidden = false;
  live = new Live(api, {
    status: (text) => { $("status").textContent = text; },
    reload: load,
    "message:new": arrived,
    "message:updated": (message) => draw(message),
    "message:deleted": (message) => draw(message),
    "chat:new": keep,
    "chat:removed": ({ chatId }) => { chats.delete(chatId); list(); },
    typing: ({ chatId, userId }) => {
      if (chatId !== open) return;
      $("typing").textContent = `${people.get(userId) ?? "Somebody"} is typing…`;
      clearTimeout(typing.timer);
      typing.timer = setTimeout(() => { $("typing").textContent = ""; }, 6000);
    },
    closed: () => { api.forget(); location.reload(); },
  });
}

const typing = { timer: 0 };

async function load() {
  chats.clear();
  for (const chat of (await api.get("/api/v2/chats")).items) keep(chat);
  if (open) await show(open);
}

function keep(chat) {
  for (const member of chat.members) people.set(member.userId, member.name);
  chats.set(chat._id, chat);
  list();
}

function list() {
  $("chats").replaceChildren(...[...chats.values()].map((chat) => {
    const other = chat.members.find((member) => member.userId !== api.user.id);
    const unread = chat.unreadCount ? ` (${chat.unreadCount})` : "";
    const item = entry((chat.name ?? other?.name ?? "Chat") + unread, () => show(chat._id));
    item.firstChild.setAttribute("aria-current", String(chat._id === open));
    return item;
  }));
}

async function show(chatId) {
  open = chatId;
  const { items } = await api.get(`/api/v2/messages?chatId=${chatId}`);
  $("messages").replaceChildren();
  items.forEach((message) => draw(message));
  const newest = items.at(-1);
  if (newest) read(newest);
  list();
}

function arrived(message) {
  const chat = chats.get(message.chatId);
  if (message.chatId === open) {
    $("typing").textContent = "";
    draw(message);
    if (message.senderId !== api.user.id) read(message);
  } else if (chat && message.senderId !== api.user.id) {
    chat.unreadCount += 1;
    list();
  }
}

function read(message) {
  const chat = chats.get(message.chatId);
  if (chat) { chat.unreadCount = 0; list(); }
  live.socket.emit("message:read", { chatId: message.chatId, messageId: message._id });
}

function draw(message) {
  const id = `m-${message._id}`;
  if (message.chatId && message.chatId !== open) return null;
  const line = document.getElementById(id) ?? $("messages").appendChild(document.createElement("li"));
  const mine = message.senderId === api.user.id;
  line.id = id;
  line.className = mine ? "mine" : "";
  line.classList.toggle("deleted", Boolean(message.deletedAt));
  const text = message.deletedAt ? "deleted" : message.content;
  line.textContent = mine ? text : `${people.get(message.senderId) ?? ""}: ${text}`;
  line.scrollIntoView({ block: "end" });
  return line;
}

function entry(text, action) {
  const item = document.createElement("li");
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = text;
  button.addEventListener("click", action);
  item.append(button);
  return item;
}

const reset = new URLSearchParams(location.hash.slice(1)).get("reset");
if (reset) {
  history.replaceState(null, "", "/");
  const password = prompt("Your new password, at least 8 characters");
  if (password) {
    await api.call("POST", "/api/v1/auth/reset", { token: reset, password }, null)
      .then(() => { $("problem").textContent = "The password is set: log in."; })
      .catch((error) => { $("problem").textContent = error.message; });
  }
}

if (api.restore()) start().catch(() => {});
