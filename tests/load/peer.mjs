// What one would write on Node to take connections: Socket.IO, a room each two clients. Started with a port.
import { createServer } from "node:http";
import { Server } from "socket.io";

const http = createServer();
let clients = 0;
new Server(http, { perMessageDeflate: false }).on("connection", (socket) => {
  socket.join(`room:${clients++ >> 1}`);
});
http.listen(+process.argv[2], "127.0.0.1", () => console.log("ready"));
