// npm's `ws`: node_ws.mjs ADDRESS CHANNEL ECHO_ADDRESS. Prints what it sees, one JSON line each.
import { load } from './installed.mjs';

const { WebSocket } = await load('ws');
const [address, channel, echoAddress] = process.argv.slice(2);
const report = (step, seen) => console.log(JSON.stringify({ step, ...seen }));
setTimeout(() => { console.error('took too long'); process.exit(1); }, 30_000).unref();

// A socket whose messages are read one after another.
function open(url) {
  const socket = new WebSocket(url);
  const messages = [];
  const readers = [];
  socket.on('message', (data, isBinary) => {
    const message = isBinary ? data : data.toString();
    if (readers.length) readers.shift()(message); else messages.push(message);
  });
  return new Promise((resolve, reject) => {
    socket.once('error', reject);
    socket.once('open', () => resolve({
      socket,
      next: () => (messages.length ? Promise.resolve(messages.shift()) : new Promise((read) => readers.push(read))),
      close: () => new Promise((closed) => { socket.once('close', closed); socket.close(1000); }),
    }));
  });
}

// Reads until each of these types was heard.
async function heardAll(client, types) {
  const heard = [];
  while (!types.every((type) => heard.some((message) => message.type === type))) heard.push(JSON.parse(await client.next()));
  return heard;
}

const one = await open(`ws://${address}/get_new_vote`);
const two = await open(`ws://${address}/get_new_vote`);
one.socket.send('1');
report('bare', { heard: [JSON.parse(await one.next()), JSON.parse(await two.next())] });
await Promise.all([one.close(), two.close()]);

const ours = await open(`ws://${address}/c/${channel}`);
const snapshot = JSON.parse(await ours.next());
report('snapshot', { heard: snapshot });
ours.socket.send(JSON.stringify({ choice: '2', id: 7 }));
report('vote', { heard: await heardAll(ours, ['ok', 'tally']) });
await ours.close();
const back = await open(`ws://${address}/c/${channel}?since=${snapshot.at}`);
report('resume', { heard: await heardAll(back, ['tally']) });
await back.close();

const echo = await open(`ws://${echoAddress}/ws`);
const same = [];
for (const message of ['小明', Buffer.from([0, 255]), 'x'.repeat(200_000)]) {
  echo.socket.send(message);
  let answer = await echo.next();
  while (answer === '*heartbeat from serve') answer = await echo.next();
  same.push(typeof message === 'string' ? answer === message : message.equals(answer));
}
report('echo', { same });
report('closed', { code: await echo.close() });
