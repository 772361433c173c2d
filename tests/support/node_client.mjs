// The official Socket.IO client, driven by a line of JSON at a time on stdin; what happens comes out the same way.
import { createInterface } from "node:readline";
import { io } from "socket.io-client";

const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
let socket;
let acks = 0;

const commands = {
  connect({ url, auth, options, follow = false }) {
    const offsets = {};
    let epoch;
    const resume = (done) => done(epoch ? { ...auth, offsets, epoch } : auth);
    socket = io(`${url}/chat`, { auth: follow ? resume : auth, forceNew: true, ...options });
    socket.on("session:ready", (ready) => {
      epoch = ready.epoch;
      for (const [channel, head] of Object.entries(ready.heads)) offsets[channel] ??= head;
    });
    socket.io.on("open", () => {
      say({ is: "open", transport: socket.io.engine.transport.name });
      socket.io.engine.once("upgrade", (transport) => say({ is: "upgrade", transport: transport.name }));
    });
    socket.on("connect", () => say({ is: "connect" }));
    socket.on("disconnect", (reason) => say({ is: "disconnect", reason, active: socket.active }));
    socket.on("connect_error", (error) => say({ is: "connect_error", message: error.message, active: socket.active }));
    socket.onAny((name, payload, place) => {
      if (place) offsets[place.channel] = place.seq;
      say({ is: "event", name, payload, place });
    });
  },
  emit({ name, payload, count = 1 }) {
    for (let n = 0; n < count; n += 1) {
      socket.emit(name, payload, (answer) => { acks += 1; say({ is: "ack", answer, acks }); });
    }
  },
  offline() { socket.io.engine.close(); },
  auth({ auth }) { socket.auth = auth; },
  disconnect() { socket.disconnect(); },
  exit() { process.exit(0); },
};

createInterface({ input: process.stdin }).on("line", (line) => {
  const command = JSON.parse(line);
  commands[command.do](command);
}).on("close", () => process.exit(0));
