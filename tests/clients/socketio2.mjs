// npm's `socket.io-client` 2: socketio2.mjs PROGRAM MODE ADDRESS. Protocol 4, Engine.IO 3. socketio_programs.mjs has the programs.
import { load } from './installed.mjs';
import { play } from './socketio_programs.mjs';

await play({
  io: await load('socket.io-client-2'),
  withPayload: (payload) => ({ query: payload }),
  // Servers of version 2 say it as a text, later ones as an object.
  refused: (socket) => new Promise((said) => socket.once('error', (error) => said(error.message ?? error))),
});
