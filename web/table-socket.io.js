// The table page's other transport: the official Socket.IO client, of which the page has loaded the bundle (`io`).
// Namespace `/table`; the event `change` both ways: our own messages from the server, ours to it with an acknowledgement.
(() => {
  "use strict";

  const RELOAD_MS = 5_000;

  function openSocketIo({ query }, on) {
    // The bundle did not come, as when the server went away just then: with the page it is asked for again.
    if (!globalThis.io) {
      const reload = setTimeout(() => location.reload(), RELOAD_MS);
      return { answers: true, send() {}, tell() {}, close: () => clearTimeout(reload) };
    }
    const given = Object.fromEntries(Object.entries(query).filter(([, value]) => value));
    // Coming back is the link's matter, as with the other transports.
    const socket = io("/table", { auth: given, reconnection: false, forceNew: true });
    socket.on("connect", on.opened);
    socket.on("change", on.said);
    socket.on("connect_error", on.ended);
    socket.on("disconnect", on.ended);
    return {
      answers: true,
      send: (message, id) => socket.emit("change", message, (answer) => on.said({ ...answer, id })),
      tell: (message) => socket.emit("change", message),
      close() {
        socket.off();
        socket.disconnect();
      },
    };
  }

  tallycast.transports = [openSocketIo];
})();
