// npm's `socket.io-client` 4: socketio.mjs PROGRAM MODE ADDRESS. Protocol 5, Engine.IO 4. socketio_programs.mjs has the programs.
import { load } from './installed.mjs';
import { play } from './socketio_programs.mjs';

await play({
  io: (await load('socket.io-client')).io,
  withPayload: (payload) => ({ auth: payload }),
  // Resolves to what the server said of a namespace that it refused.
  refused: (socket) => new Promise((said) => socket.once('connect_error', (error) => said(error.message))),
});
