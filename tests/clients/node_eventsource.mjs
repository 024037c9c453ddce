// npm's `eventsource`: node_eventsource.mjs ADDRESS CHANNEL. Prints what it sees, one JSON line each.
// A line on standard input makes it go on: the server was restarted meanwhile.
import { createInterface } from 'node:readline';
import { load } from './installed.mjs';

const { EventSource } = await load('eventsource');
const [address, channel] = process.argv.slice(2);
const report = (step, seen) => console.log(JSON.stringify({ step, ...seen }));
setTimeout(() => { console.error('took too long'); process.exit(1); }, 60_000).unref();

const url = `http://${address}/c/${channel}`;
const ids = [];
const source = new EventSource(url, {
  // What the library sends when it comes back.
  fetch: (input, init) => {
    ids.push(init.headers['Last-Event-ID'] ?? null);
    return fetch(input, init);
  },
});
const events = [];
const readers = [];
source.onmessage = (event) => {
  const message = { id: event.lastEventId, ...JSON.parse(event.data) };
  if (readers.length) readers.shift()(message); else events.push(message);
};
async function next(types) {
  for (;;) {
    const message = events.length ? events.shift() : await new Promise((read) => readers.push(read));
    if (types.includes(message.type)) return message;
  }
}
const vote = (choice) => fetch(url, { method: 'POST', body: new URLSearchParams({ choice }) });

report('snapshot', { heard: await next(['snapshot']) });
const answer = await vote('3');
report('answer', { status: answer.status, heard: await answer.json() });
report('vote', { heard: await next(['tally']) });

// The server ends and comes back at the same address: the library returns by itself, with the id it saw last.
await new Promise((go) => createInterface({ input: process.stdin }).once('line', go));
report('return', { heard: await next(['snapshot', 'resumed']), ids });
await vote('3');
report('again', { heard: await next(['tally']) });
source.close();
process.exit(0);
