// One room, by every transport: cross_transport.mjs ADDRESS PLAIN_ADDRESS CHANNEL. Each of them sends as all the others do, at the same
// time; what each of them hears is printed, one JSON line each.
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { load } from './installed.mjs';

const { WebSocket } = await load('ws');
const { EventSource } = await load('eventsource');
const { io } = await load('socket.io-client');
const io2 = await load('socket.io-client-2');
const [address, plainAddress, channel] = process.argv.slice(2);
const report = (step, seen = {}) => console.log(JSON.stringify({ step, ...seen }));
let ears = [];
setTimeout(() => {
  console.error('took too long:', ears.map(([name, { ear }]) => `${name} heard ${ear.heard.length}`).join(', '));
  process.exit(1);
}, 60_000).unref();

const url = `http://${address}/c/${channel}`;
const EACH = 20;
const LAST = '最后';
const run = promisify(execFile);

// What a listener hears, until the last of all messages.
class Ear {
  constructor() {
    this.heard = [];
    this.done = new Promise((resolve) => { this.resolve = resolve; });
    this.ready = new Promise((resolve) => { this.begins = resolve; });
  }

  text(text) {
    this.heard.push(text);
    if (text === LAST) this.resolve(this.heard);
  }

  // A message of our own dialect.
  message(message) {
    if (message.type === 'message') this.text(message.text);
    if (message.type === 'snapshot') this.begins();
  }
}

async function post(text, from) {
  const response = await fetch(url, { method: 'POST', body: new URLSearchParams({ text, from }) });
  if (response.status !== 200) throw new Error(`POST: ${response.status} ${await response.text()}`);
}

// Each listens by itself, and returns what it hears by and how it sends.
const kinds = {
  async plain() {
    const ear = new Ear();
    const socket = new WebSocket(`ws://${plainAddress}/my_ws`, { origin: `http://${plainAddress}` });
    socket.on('message', (data) => ear.text(data.toString()));
    await new Promise((resolve, reject) => { socket.once('open', resolve).once('error', reject); });
    ear.begins();
    return { ear, send: (text) => socket.send(text) };
  },
  async websocket() {
    const ear = new Ear();
    const socket = new WebSocket(`ws://${address}/c/${channel}?name=${encodeURIComponent('小明')}`);
    socket.on('message', (data) => ear.message(JSON.parse(data.toString())));
    return { ear, send: (text) => socket.send(JSON.stringify({ text })) };
  },
  async eventSource() {
    const ear = new Ear();
    const source = new EventSource(url);
    source.onmessage = ({ data }) => ear.message(JSON.parse(data));
    return { ear, send: (text) => post(text, 'page') };
  },
  async longPoll() {
    const ear = new Ear();
    const poll = async () => {
      let { at } = await (await fetch(url)).json();
      ear.begins();
      while (!ear.heard.includes(LAST)) {
        const answer = await (await fetch(`${url}?wait=20&since=${at}`)).json();
        if (answer.type !== 'publications') throw new Error(`a poll: ${JSON.stringify(answer)}`);
        for (const message of answer.publications) ear.message(message);
        ({ at } = answer);
      }
    };
    poll();
    return { ear, send: (text) => post(text, 'poller') };
  },
  socketIo: () => socketIo(io, { transports: ['polling'], auth: { name: '小花' } }),
  socketIoUpgrading: () => socketIo(io, { auth: { name: 'bob' } }),
  socketIo2: () => socketIo(io2, { transports: ['websocket'], forceNew: true }),
  socketIo2Upgrading: () => socketIo(io2, { forceNew: true }),
  async curl() {
    const form = (text) => ['--silent', '--fail', '--data-urlencode', `text=${text}`, '--data', 'from=curl', url];
    return { ear: null, send: (text) => run('curl', form(text)) };
  },
};

function socketIo(library, options) {
  const ear = new Ear();
  const socket = library(`http://${address}/room`, { forceNew: true, ...options });
  socket.on('message', (message) => ear.message(message));
  // Half of them are acknowledged.
  let asks = false;
  const send = (text) => new Promise((resolve) => {
    asks = !asks;
    if (asks) socket.emit('message', { text }, resolve);
    else resolve(socket.emit('message', { text }));
  });
  return { ear, send };
}

const clients = Object.fromEntries(await Promise.all(
  Object.entries(kinds).map(async ([name, start]) => [name, await start()])));
ears = Object.entries(clients).filter(([, { ear }]) => ear);
await Promise.all(ears.map(([, { ear }]) => ear.ready));
report('ready', { who: Object.keys(clients), listeners: ears.map(([name]) => name), each: EACH });

await Promise.all(Object.entries(clients).map(async ([name, { send }]) => {
  for (let number = 1; number <= EACH; number += 1) await send(`${name} ${number} 你好`);
}));
// What was sent and not acknowledged may still be on its way: the last one goes when everybody has heard the others.
const total = (name) => Object.keys(clients).filter((other) => other !== name || isPublisher(name)).length * EACH;
function isPublisher(name) {
  return ['eventSource', 'longPoll', 'curl'].includes(name);
}
while (!ears.every(([name, { ear }]) => ear.heard.length >= total(name))) await new Promise((later) => { setTimeout(later, 10); });
await clients.curl.send(LAST);
for (const [name, { ear }] of ears) report('heard', { who: name, own: isPublisher(name), heard: await ear.done });
process.exit(0);
