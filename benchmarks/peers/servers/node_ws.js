// Broadcasts what one WebSocket client says to all of them, with Node's `ws`: `node node_ws.js PORT`.
"use strict";

const { WebSocketServer } = require("ws");

const server = new WebSocketServer({
  host: "127.0.0.1",
  port: Number(process.argv[2]),
  backlog: 4096,
  perMessageDeflate: false,
});

// The payload stays the Buffer that arrived: no string is made of it, and no copy per client.
server.on("connection", (client) => {
  client.on("error", () => {});
  client.on("message", (data) => {
    for (const member of server.clients) member.send(data, { binary: false });
  });
});
