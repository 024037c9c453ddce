// What a Socket.IO client does, whatever its version: PROGRAM MODE ADDRESS, where MODE is polling, websocket or upgrade.
// Prints what it sees, one JSON line each. A line on standard input makes it go on where it waits for the test.
import { createInterface } from 'node:readline';
import { isDeepStrictEqual } from 'node:util';

const TRANSPORTS = { polling: ['polling'], websocket: ['websocket'], upgrade: ['polling', 'websocket'] };
const ROW_9 = ['my_response', 'input-change'];
const OURS = ['change', 'refused'];
const [program, mode, address] = process.argv.slice(2);
const origin = `http://${address}`;
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const report = (step, seen = {}) => console.log(JSON.stringify({ step, ...seen }));

export async function play(library) {
  setTimeout(() => { console.error('took too long'); process.exit(1); }, 60_000).unref();
  const programs = { table, messages, restart, stream, own };
  await programs[program](library);
  process.exit(0);
}

// A client in a namespace, which keeps what it hears of these events, in order.
function open({ io }, namespace, events, options = {}) {
  const socket = io(origin + namespace, { transports: TRANSPORTS[mode], forceNew: true, ...options });
  const heard = [];
  let wanted = null;
  const look = () => {
    if (wanted && heard.length >= wanted.count) wanted.resolve(heard.splice(0, wanted.count));
  };
  for (const event of events) {
    socket.on(event, (...args) => {
      heard.push({ event, args });
      look();
    });
  }
  return {
    socket,
    // The next so many events.
    take: (count) => new Promise((resolve) => {
      wanted = { count, resolve: (events) => { wanted = null; resolve(events); } };
      look();
    }),
    // What the acknowledgement of an event said.
    ask: (event, ...args) => new Promise((said) => socket.emit(event, ...args, (...answer) => said(answer))),
    // The transport that it has in the end.
    transport: async () => {
      const { engine } = socket.io;
      if (mode === 'upgrade' && engine.transport.name === 'polling') await once(engine, 'upgrade');
      return engine.transport.name;
    },
    close: () => {
      const closed = once(socket, 'disconnect');
      socket.disconnect();
      return closed;
    },
  };
}
const once = (emitter, event) => new Promise((resolve) => emitter.once(event, resolve));

async function post(change, from = origin) {
  const response = await fetch(`${origin}/input-change`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', Origin: from },
    body: typeof change === 'string' ? change : JSON.stringify(change),
  });
  return { status: response.status, text: await response.text(), origin: response.headers.get('access-control-allow-origin') };
}

// Row 9, as its page behaves.
async function table(library) {
  const one = open(library, '/test', ROW_9);
  report('greeting', { heard: await one.take(16) });
  report('transport', { name: await one.transport() });
  one.socket.emit('my_event', { data: "I'm connected!" });
  report('acknowledged', { args: await one.ask('my_event', { data: "I'm connected!" }) });

  const two = open(library, '/test', ROW_9);
  report('second', { heard: await two.take(16) });
  const preflight = await fetch(`${origin}/input-change`, {
    method: 'OPTIONS',
    headers: {
      Origin: 'http://localhost:8080', 'Access-Control-Request-Method': 'POST', 'Access-Control-Request-Headers': 'content-type',
    },
  });
  const allowed = (name) => preflight.headers.get(`access-control-allow-${name}`);
  report('preflight', { ok: preflight.ok, origin: allowed('origin'), methods: allowed('methods'), headers: allowed('headers') });
  // Browsers' requests of version 2 have credentials: without these two headers its pages from elsewhere hear nothing.
  const polled = await fetch(`${origin}/socket.io/?EIO=3&transport=polling`, { headers: { Origin: 'http://localhost:8080' } });
  const header = (name) => polled.headers.get(`access-control-allow-${name}`);
  report('polled', { status: polled.status, origin: header('origin'), credentials: header('credentials') });
  const changes = [
    [{ index: 0, value: '小红', forms: 'name' }, 'http://localhost:8080'],
    [{ index: 2, value: '跳远 "🏃"', forms: 'skill' }, 'null'],
    [{ index: 2, value: '', forms: 'gender' }, origin],
  ];
  for (const [change, from] of changes) {
    report('posted', { change, ...await post(change, from), heard: [await one.take(1), await two.take(1)] });
  }
  const late = open(library, '/test', ROW_9);
  report('late', { heard: await late.take(16) });

  const good = { index: 0, value: 'x', forms: 'name' };
  const bad = [
    '{', '[]', '"text"', { value: 'x', forms: 'name' }, { index: 0, forms: 'name' }, { index: 0, value: 'x' },
    { ...good, index: 3 }, { ...good, index: -1 }, { ...good, index: 1.5 }, { ...good, forms: 'shoes' },
    { ...good, forms: '' }, { ...good, value: { a: [] } }, { ...good, value: 'x'.repeat(200_000) },
  ];
  const answers = [];
  for (const change of bad) answers.push(await post(change));
  answers.push(await post(good, 'http://example.org'));
  report('refused', { statuses: answers.map(({ status }) => status), texts: answers.map(({ text }) => text) });
  // None of them is heard of: what comes next is the next good one.
  await post({ ...good, value: 'after' });
  report('after', { heard: await Promise.all([one, two, late].map((client) => client.take(1))) });

  report('left', { reason: await one.close() });
  await post({ ...good, value: 'still there' });
  report('still there', { heard: await Promise.all([two, late].map((client) => client.take(1))) });
}

// Texts, binary, acknowledgements, namespaces and their ends, as the conformance configuration answers them.
async function messages(library) {
  const one = open(library, '/', ['auth', 'message-back']);
  report('greeting', { heard: await one.take(1) });
  // More than a hundred that are on their way while the transport changes.
  for (let number = 0; number < 200; number += 1) one.socket.emit('message', number);
  const numbers = (await one.take(200)).map(({ args }) => args[0]);
  report('in order', { same: isDeepStrictEqual(numbers, [...numbers.keys()]) });
  report('transport', { name: await one.transport() });

  const bytes = (length) => Buffer.from(Array.from({ length }, (_, index) => index * 7 % 256));
  const rows = [
    [], [1, '2', { 3: [true] }], ['小明', null, -1.5, 'a"b\\\n\u2028'], [bytes(3)], [bytes(0), 'between', bytes(1)],
    [{ deep: [{ bytes: bytes(300) }], text: '小花' }, [bytes(2)]], [bytes(100_000)], ['x'.repeat(100_000)],
  ];
  const same = [];
  for (const row of rows) {
    one.socket.emit('message', ...row);
    const [{ args }] = await one.take(1);
    same.push(isDeepStrictEqual(plain(args), plain(row)), isDeepStrictEqual(plain(await one.ask('message-with-ack', ...row)), plain(row)));
  }
  report('same', { same });
  const asked = await Promise.all(Array.from({ length: 100 }, (_, number) => one.ask('message-with-ack', number, bytes(number % 3))));
  report('each its own', { same: asked.every(([number, binary], index) => number === index && binary.length === index % 3) });

  const custom = open(library, '/custom', ['auth']);
  report('custom', { heard: await custom.take(1) });
  const unknown = open(library, '/random', []);
  report('unknown', { said: await library.refused(unknown.socket) });
  unknown.socket.close();
  // Two namespaces of one connection: the end of one is not the end of the other.
  const both = open(library, '/', ['auth', 'message-back']);
  await both.take(1);
  const besides = both.socket.io.socket('/custom', library.withPayload({ token: 'abc' }));
  const auth = await once(besides, 'auth');
  const left = once(besides, 'disconnect');
  besides.disconnect();
  report('besides', { heard: auth, left: await left });
  report('goes on', { args: await both.ask('message-with-ack', 'here') });

  // The heartbeat is 300 ms and may be late by 200 ms.
  await new Promise((later) => { setTimeout(later, 1500); });
  const connected = [one, custom, both].map(({ socket }) => socket.connected);
  report('alive', { connected, args: await one.ask('message-with-ack', 'alive') });
  // Beyond the payload that the server takes: the connection ends, and the library comes back by itself.
  const gone = once(one.socket, 'disconnect');
  one.socket.emit('message', 'x'.repeat(1_000_001));
  report('too much', { reason: await gone, again: (await one.take(1))[0] });
}
// Bytes as text, so that a Buffer of the one is like an ArrayBuffer of the other.
function plain(value) {
  if (value instanceof ArrayBuffer || ArrayBuffer.isView(value)) return `bytes ${Buffer.from(value).toString('hex')}`;
  if (Array.isArray(value)) return value.map(plain);
  if (value && typeof value === 'object') return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, plain(part)]));
  return value;
}

// The server ends twice, and comes back at the same address.
async function restart(library) {
  const one = open(library, '/test', ROW_9, { reconnectionDelay: 100, reconnectionDelayMax: 300 });
  await one.take(16);
  for (let round = 0; round < 2; round += 1) {
    const gone = once(one.socket, 'disconnect');
    report('connected', { transport: await one.transport() });
    const reason = await gone;
    // The library keeps it for when it is back.
    const asked = one.ask('my_event', { data: 'later' });
    report('gone', { reason });
    await lines.next();
    report('back', { heard: await one.take(16), args: await asked });
  }
  await post({ index: 0, value: 'news', forms: 'name' });
  report('news', { heard: await one.take(1) });
}

// 200 changes of one cell, while clients come: none is lost to anyone, and none comes twice.
async function stream(library) {
  const clients = [];
  const last = 200;
  for (let number = 1; number <= last; number += 1) {
    if (number % 30 === 1) clients.push(follow(library, `v${last}`));
    const { status } = await post({ index: 1, value: `v${number}`, forms: 'age' });
    if (status !== 200) throw new Error(`POST: ${status}`);
  }
  report('stream', { clients: await Promise.all(clients) });
}
async function follow(library, last) {
  const client = open(library, '/test', ROW_9);
  const values = [];
  while (values.at(-1) !== last) {
    const [{ args: [cell] }] = await client.take(1);
    if (cell.index === 1 && cell.forms === 'age') values.push(cell.value);
  }
  return { values, transport: await client.transport() };
}

// The same table in our own dialect: snapshots, revisions, refusals, names, and the return to where one was.
async function own(library) {
  const one = open(library, '/table', OURS, { ...library.withPayload({ name: '小明' }), reconnection: false });
  const types = [];
  let snapshot;
  while (!types.includes('members')) {
    const [{ event, args: [message] }] = await one.take(1);
    types.push(event === 'change' ? message.type : event);
    if (message.type === 'snapshot') snapshot = message;
    if (message.type === 'members') report('begin', { snapshot, types, users: message.users });
  }
  const next = async (client, type) => {
    for (;;) {
      const [{ event, args: [message] }] = await client.take(1);
      if (message.type === type) return { event, message };
    }
  };
  const cell = { row: '1', column: 'age' };
  const answers = [
    await one.ask('change', { set: [{ ...cell, value: '19', if_rev: 0 }] }),
    await one.ask('change', { set: [{ ...cell, value: '20', if_rev: 0 }] }),
    await one.ask('change', { set: [{ ...cell, column: 'shoes', value: '20' }] }),
    await one.ask('change', { set: [{ ...cell, row: 'nobody', value: '20' }] }),
    await one.ask('change', 'not an object'),
    await one.ask('change'),
    await one.ask('no such event', {}),
  ];
  report('answers', { answers });
  report('cells', await next(one, 'cells'));
  one.socket.emit('change', { set: [{ ...cell, value: '20', if_rev: 0 }] });
  report('unasked', await next(one, 'refused'));
  await one.close();
  const back = open(library, '/table', OURS, library.withPayload({ name: '小明', since: snapshot.at }));
  report('resumed', await next(back, 'resumed'));
  report('missed', await next(back, 'cells'));
}
