// Chromium, driven by playwright-core: browser_pages.mjs CHROMIUM ADDRESS [PICTURES]. Each page in two windows of two
// people: what one does, the other sees. One JSON line for each step; it fails where somebody would not see what is due.
// PICTURES is a folder for what it looks like.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { load } from './installed.mjs';

const { chromium } = await load('playwright-core');
const [executablePath, address, pictures] = process.argv.slice(2);
const base = `http://${address}`;
const report = (step, seen = {}) => console.log(JSON.stringify({ step, ...seen }));

const browser = await chromium.launch({
  executablePath,
  headless: true,
  chromiumSandbox: false,
  args: [
    '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update',
    '--disable-sync',
  ],
});
const complaints = [];
const requests = [];

// With a `tap`, `tap.say` puts messages of a server into the page's stream.
async function window(path, { tap, ...options } = {}) {
  const context = await browser.newContext({ locale: 'en', viewport: { width: 1100, height: 760 }, ...options });
  context.setDefaultTimeout(20_000);
  const page = await context.newPage();
  if (tap) await page.routeWebSocket(/\/c\//, (socket) => {
    socket.connectToServer();
    tap.say = (message) => socket.send(JSON.stringify(message));
  });
  page.on('pageerror', (error) => complaints.push(`${path}: ${error}`));
  page.on('console', (message) => {
    // That the network is away for a moment is what this test does, and so is leaving a page that is just connecting: the
    // browser's own words for that are no complaint.
    const away = /ERR_INTERNET_DISCONNECTED|WebSocket is closed before the connection is established/.test(message.text());
    if (['error', 'warning'].includes(message.type()) && !away) complaints.push(`${path}: ${message.text()}`);
  });
  page.on('request', (request) => requests.push(request.url()));
  await page.goto(base + path);
  return page;
}
const close = (...pages) => Promise.all(pages.map((page) => page.context().close()));
const live = (page) => page.waitForFunction(() => document.documentElement.dataset.state === 'live');
const picture = async (page, name) => pictures && page.screenshot({ path: join(pictures, `${name}.png`) });
const sees = (page, selector, text) => page.locator(selector).filter({ hasText: text }).first().waitFor();
const gone = (page, selector) => page.waitForFunction((selector) => !document.querySelector(selector), selector);
const texts = (page, selector) => page.$$eval(selector, (found) => found.map((element) => element.textContent));

// Says who one is, and waits for the link.
async function name(page, who) {
  await page.fill('#name', who);
  await page.press('#name', 'Enter');
  await page.locator('#me').waitFor();
  await live(page);
}

async function write(page, text) {
  await page.fill('#text', text);
  await page.press('#text', 'Enter');
}

// ---- The index leads to every page ----

async function index() {
  const page = await window('/');
  const cards = await page.$$eval('.card a', (links) => links.map((link) => new URL(link.href).pathname));
  for (const path of cards) {
    const response = await page.goto(base + path);
    assert.equal(response.status(), 200, path);
    const home = await page.locator('.brand a').getAttribute('href');
    const current = await texts(page, '.tabs [aria-current]');
    assert.equal(home, '/', path);
    assert.equal(current.length, 1, path);
  }
  await close(page);
  const plain = await window('/', { javaScriptEnabled: false });
  assert.equal(await plain.locator('.card a').count(), cards.length);
  report('index', { cards });
  await close(plain);
}

// ---- Group ----

const bubbles = (page) => texts(page, '.said .text');

async function group() {
  const [one, two] = await Promise.all([window('/group'), window('/group')]);
  await name(one, 'alice');
  await name(two, '小明');
  await Promise.all([sees(one, '#members', '小明'), sees(two, '#members', 'alice')]);
  await sees(one, '.note', '小明');
  const first = `Good morning! It is ${new Date().toLocaleTimeString('en')}.`;
  await write(one, first);
  await sees(two, '.said:not(.own) .text', first);
  await sees(two, '.said .from', 'alice');
  await write(two, '早上好！\n<b>二行</b>');
  await sees(one, '.said:not(.own) .text', '<b>二行</b>');
  await sees(one, '.own:not([data-fate="sending"]) .text', first);
  await write(one, 'How was the evening?');
  await sees(two, '.said:not(.own) .text', 'How was the evening?');
  // Two lines in one text stay two lines, and no HTML.
  const before = await bubbles(one);
  assert.deepEqual(before.slice(-3), [first, '早上好！\n<b>二行</b>', 'How was the evening?']);
  assert.deepEqual(await bubbles(two), before);

  // A reload asks for no name again, and shows all that was said, one's own once.
  await one.reload();
  await live(one);
  await sees(one, '.own .text', first);
  await sees(one, '#members', '小明');
  const after = await bubbles(one);
  assert.deepEqual(after, before);
  await two.context().close();
  await sees(one, '.note', '小明');
  await gone(one, '#members [data-user="小明"]');
  assert.equal((await texts(one, '#members li')).length, 1);
  report('group', { said: after });
  await close(one);
}

// ---- One to one ----

async function chat() {
  const [one, two] = await Promise.all([window('/chat'), window('/chat')]);
  const [alice, bob] = [`alice-${Date.now()}`, `小明-${Date.now()}`];
  await name(one, alice);
  const talkTo = async (page, peer) => {
    await page.fill('#peer', peer);
    await page.press('#peer', 'Enter');
    await sees(page, '#peer-name', peer);
  };
  await talkTo(one, bob);
  await write(one, 'Are you there?');
  await sees(one, '.own[data-fate="refused"] .fate', bob);
  const absent = await one.locator('.own[data-fate="refused"] .fate').textContent();
  await picture(one, 'chat-absent-en');

  await name(two, bob);
  await one.click('.own[data-fate="refused"] button');
  await sees(one, '.own[data-fate=""] .text', 'Are you there?');
  await sees(two, `#peers [data-peer="${alice}"] .last`, 'Are you there?');
  assert.equal(await two.locator('.unread [aria-hidden]').textContent(), '1');
  await picture(two, 'chat-unread-en');
  await two.click(`#peers [data-peer="${alice}"]`);
  await gone(two, '.unread');
  await sees(two, '.said:not(.own) .text', 'Are you there?');
  await write(two, '在的！<script>alert(1)</script>');
  await sees(one, '.said:not(.own) .text', '<script>alert(1)</script>');
  await write(one, 'Lunch at noon?');
  await sees(two, '.said:not(.own) .text', 'Lunch at noon?');
  const before = await bubbles(one);

  await one.reload();
  await live(one);
  await sees(one, '#peer-name', bob);
  assert.deepEqual(await bubbles(one), before);
  assert.deepEqual(before, ['Are you there?', '在的！<script>alert(1)</script>', 'Lunch at noon?']);
  await write(two, '中午见');
  await sees(one, '.said:not(.own) .text', '中午见');
  report('chat', { absent });
  await close(one, two);
}

// ---- The table: `paths` are the pages of the two people ----

const input = (row, column) => `[data-row="${row}"] [data-column="${column}"] input`;
const shows = (page, row, column, text) => page.waitForFunction(
  ([selector, text]) => document.querySelector(selector)?.value === text, [input(row, column), text]);
const rowIds = (page) => page.$$eval('tbody tr[data-row]', (rows) => rows.map((row) => row.dataset.row));
const ordered = (page, ids) => page.waitForFunction(
  (wanted) => [...document.querySelectorAll('tbody tr[data-row]')].map((row) => row.dataset.row).join() === wanted, ids.join());

async function set(page, row, column, text) {
  await page.fill(input(row, column), text);
  await page.press(input(row, column), 'Enter');
}

async function table(step, paths) {
  const [one, two] = await Promise.all(paths.map((path) => window(path)));
  await name(one, 'alice');
  await name(two, '小明');
  await Promise.all([sees(one, '#members', '小明'), sees(two, '#members', 'alice')]);
  await one.locator('tbody tr[data-row]').nth(2).waitFor();
  const [a, b, c] = await rowIds(one);

  // Where the other is; what the other writes.
  await one.focus(input(a, 'age'));
  await sees(two, `[data-row="${a}"] [data-column="age"].edited .editor`, 'alice');
  assert.equal(await two.locator('.editor').count(), 1);
  const value = String(Date.now() % 1000);
  await set(one, a, 'age', value);
  await Promise.all([shows(two, a, 'age', value), sees(two, `[data-row="${b}"] [data-column="age"] .editor`, 'alice')]);
  assert.equal(await one.evaluate(() => document.activeElement.closest('tr').dataset.row), b);
  await one.press(input(b, 'age'), 'Escape');
  await one.focus('#add');
  await gone(two, '.editor');

  // Both write in one cell: who is second is asked.
  await two.focus(input(a, 'hobby'));
  await two.keyboard.type('画画');
  await sees(one, '.editor', '小明');
  await picture(one, `${step}-editing-en`);
  await set(one, a, 'hobby', 'chess');
  await two.locator('.overtaken').waitFor();
  await two.keyboard.press('Enter');
  await sees(two, '.conflict', 'alice');
  const conflict = { theirs: await texts(two, 'dd.theirs'), mine: await texts(two, 'dd.mine'), shown: await two.inputValue(input(a, 'hobby')) };
  await picture(two, `${step}-stale-en`);
  await two.click('.conflict .quiet');
  await gone(two, '.conflict');
  assert.deepEqual(conflict, { theirs: ['chess'], mine: ['画画'], shown: 'chess' });
  assert.equal(await two.inputValue(input(a, 'hobby')), 'chess');
  await two.focus(input(a, 'hobby'));
  await two.keyboard.type('画画');
  await set(one, a, 'hobby', 'go');
  await two.locator('.overtaken').waitFor();
  await two.keyboard.press('Enter');
  await two.click('.conflict .solid');
  await Promise.all([shows(one, a, 'hobby', '画画'), shows(two, a, 'hobby', '画画')]);

  // Escape writes nothing.
  const untouched = await one.inputValue(input(b, 'hobby'));
  await two.fill(input(b, 'hobby'), 'nothing');
  await two.press(input(b, 'hobby'), 'Escape');
  await two.focus('#add');

  // Rows: moved from the keyboard, inserted, deleted, and back.
  await one.focus(`[data-row="${b}"] .row_up`);
  await one.keyboard.press('Enter');
  await Promise.all([one, two].map((page) => ordered(page, [b, a, c])));
  // It is the first row now and cannot go up: the next tool has the focus.
  await one.waitForFunction(() => document.activeElement.className === 'row_down');
  await one.keyboard.press('Enter');
  await Promise.all([one, two].map((page) => ordered(page, [a, b, c])));
  await one.click(`[data-row="${a}"] .row_insert`);
  await two.locator('tbody tr[data-row]').nth(3).waitFor();
  const inserted = (await rowIds(two))[1];
  await one.waitForFunction((row) => document.activeElement.closest('tr')?.dataset.row === row, inserted);
  await one.keyboard.type('<i>小红</i>');
  await one.keyboard.press('Tab');
  await shows(two, inserted, 'name', '<i>小红</i>');
  await two.click(`[data-row="${inserted}"] .row_delete`);
  await ordered(one, [a, b, c]);
  await two.click('#notice button');
  await Promise.all([one, two].map((page) => ordered(page, [a, inserted, b, c])));
  await shows(one, inserted, 'name', '<i>小红</i>');
  await two.click(`[data-row="${inserted}"] .row_delete`);
  await Promise.all([one, two].map((page) => ordered(page, [a, b, c])));

  // What is written while the network is away is written when it is back.
  await two.context().setOffline(true);
  await two.evaluate(() => dispatchEvent(new Event('offline')));
  await set(two, c, 'skill', 'offline');
  await two.locator('.unsaved').waitFor();
  await set(one, c, 'hobby', value);
  await two.context().setOffline(false);
  await Promise.all([shows(one, c, 'skill', 'offline'), shows(two, c, 'hobby', value)]);
  await gone(two, '.unsaved');

  await two.reload();
  await live(two);
  await shows(two, a, 'hobby', '画画');
  const cells = (page) => page.$$eval('td input', (inputs) => inputs.map((input) => input.value));
  assert.deepEqual(await cells(two), await cells(one));
  assert.equal(await two.inputValue(input(b, 'hobby')), untouched);
  // As it was.
  for (const [row, column, text] of [[a, 'hobby', '跑步'], [a, 'age', '18'], [c, 'skill', ''], [c, 'hobby', '']]) {
    await set(two, row, column, text);
    await shows(one, row, column, text);
  }
  report(step, { conflict, cells: await cells(one) });
  await close(one, two);
}

// ---- What is told to a window that was too slow ----

async function slow() {
  const at = 'efc9892e1fddf4f1-7';
  const seen = {};
  for (const [locale, path] of [['en', '/group'], ['zh-CN', '/group'], ['en', '/chat'], ['zh-CN', '/chat']]) {
    const tap = {};
    const page = await window(path, { tap, locale });
    await name(page, `${locale}-${Date.now()}`);
    const gap = { type: 'gap', channel: 'room/lobby', kind: 'group', at };
    if (path === '/chat') {
      tap.say(gap); // no conversation is open
      await page.locator('#notice.shown').waitFor();
      await page.fill('#peer', 'somebody');
      await page.press('#peer', 'Enter');
    }
    // Two gaps with nothing between them are one.
    for (const message of [gap, gap, { type: 'message', at: 'efc9892e1fddf4f1-8', from: 'somebody', text: 'behind it' }]) tap.say(message);
    await sees(page, '.said .text', 'behind it');
    const notes = (await texts(page, '[data-about=""]')).concat(path === '/chat' ? await page.locator('#notice').textContent() : []);
    assert.deepEqual(notes, Array(notes.length).fill(notes[0]));
    assert.equal(notes.length, path === '/chat' ? 2 : 1);
    assert.equal(await page.locator('[data-about=""] + .said').count(), 1);
    seen[`${path} ${locale}`] = notes[0];
    await close(page);
  }
  assert.match(seen['/group en'], /left out/);
  assert.match(seen['/group zh-CN'], /没有显示/);

  // The table as it is now: who edits is told behind it, and who is not told edits no more.
  const tap = {};
  const page = await window('/table', { tap });
  await name(page, 'alice');
  const [row] = await rowIds(page);
  const state = await (await fetch(`${base}/c/table/people`)).json();
  const editing = (who, column) => tap.say({ type: 'editing', who, user: who, row, column });
  editing('ben', 'age');
  editing('cleo', 'hobby');
  await sees(page, '[data-column="age"].edited .editor', 'ben');
  await sees(page, '[data-column="hobby"].edited .editor', 'cleo');
  tap.say(state);
  editing('cleo', 'hobby');
  await gone(page, '[data-column="age"] .editor');
  await sees(page, '[data-column="hobby"].edited .editor', 'cleo');
  assert.equal(await page.locator('.editor').count(), 1);
  report('slow', seen);
  await close(page);
}

// ---- What it looks like ----

async function looks() {
  const pages = { index: '/', vote: '/index', group: '/group', chat: '/chat', table: '/table', 'table-socket.io': '/table-socket.io' };
  const phone = { viewport: { width: 360, height: 740 }, isMobile: true, hasTouch: true, deviceScaleFactor: 2 };
  // Each kind has people of its own: what was said before is still there.
  const kinds = [
    { kind: 'en', people: ['Ada', 'Ben'] },
    { kind: 'zh', people: ['小明', '小红'], locale: 'zh-CN' },
    { kind: 'dark', people: ['Cleo', 'Dan'], colorScheme: 'dark' },
    { kind: 'en-360', people: ['Eve', 'Finn'], ...phone },
    { kind: 'zh-360', people: ['小花', '小刚'], locale: 'zh-CN', ...phone },
    { kind: 'zh-360-dark', people: ['阿强', '阿珍'], locale: 'zh-CN', colorScheme: 'dark', ...phone },
  ];
  const talk = {
    en: ['Shall we walk up the hill tomorrow?', 'Gladly! Eight o’clock at the gate?\nI will bring tea, bread and the good map.', 'Done. See you there.'],
    zh: ['明天一起去爬山吗？', '好啊！早上八点门口见？\n我带茶、面包和那张好地图。', '就这么定了，明天见。'],
  };
  for (const { kind, people: [first, second], ...options } of kinds) {
    const lines = talk[options.locale ? 'zh' : 'en'];
    for (const [page, path] of Object.entries(pages)) {
      const one = await window(path, options);
      if (page !== 'index' && page !== 'chat') await live(one);
      const look = async (name) => {
        await picture(one, name);
        const seen = await one.evaluate(() => ({
          lang: document.documentElement.lang,
          chinese: /[\u4e00-\u9fff]/.test(document.querySelector('h1').textContent),
          // Wider than the window: something sticks out, and a phone would scroll sideways.
          overflow: document.documentElement.scrollWidth - innerWidth,
        }));
        assert.ok(seen.overflow <= 0, `${name} sticks out by ${seen.overflow} pixels`);
        assert.equal(seen.chinese, options.locale === 'zh-CN', name);
        report('look', { name, ...seen });
      };
      if (page === 'chat') {
        await look(`chat-naming-${kind}`);
        const two = await window(path, options);
        await name(two, second);
        await name(one, first);
        await one.fill('#peer', second);
        await one.press('#peer', 'Enter');
        await write(one, lines[0]);
        await two.click(`#peers [data-peer="${first}"]`);
        await write(two, lines[1]);
        await sees(one, '.said:not(.own) .text', lines[1]);
        await write(one, lines[2]);
        await sees(two, '.said:not(.own) .text', lines[2]);
        await close(two);
      } else if (page === 'group') {
        await look(`group-onlooker-${kind}`);
        const two = await window(path, options);
        await name(one, first);
        await name(two, second);
        await sees(one, '#members', second);
        for (const [from, to, line] of [[one, two, lines[0]], [two, one, lines[1]], [one, two, lines[2]]]) {
          await write(from, line);
          await sees(to, '.said:not(.own) .text', line);
        }
        await sees(one, '.own[data-fate=""] .text', lines[2]);
        await look(`group-${kind}`);
        await close(one, two);
        continue;
      } else if (page === 'table') {
        const two = await window(path, options);
        await Promise.all([name(one, first), name(two, second)]);
        const [row, next] = await rowIds(one);
        await two.focus(input(next, 'skill'));
        await sees(one, '.editor', second);
        await one.fill(input(row, 'skill'), lines === talk.zh ? '剑术' : 'fencing');
        await set(two, row, 'skill', lines === talk.zh ? '游泳' : 'swimming');
        await one.locator('.overtaken').waitFor();
        await one.press(input(row, 'skill'), 'Enter');
        await one.locator('.conflict').waitFor();
        await two.focus(input(next, 'skill'));
        await sees(one, '.editor', second);
        await look(`table-${kind}`);
        await one.click('.conflict .quiet');
        await set(two, row, 'skill', '跳马');
        await shows(one, row, 'skill', '跳马');
        await close(one, two);
        continue;
      }
      await look(`${page}-${kind}`);
      await close(one);
    }
  }
}

try {
  await index();
  await group();
  await chat();
  await table('table', ['/table', '/table']);
  await table('table-socket.io', ['/table-socket.io', '/table-socket.io']);
  await table('table-both', ['/table', '/table-socket.io']);
  await slow();
  if (pictures) await looks();
  const outside = requests.filter((request) => !request.startsWith(base) && !request.startsWith(`ws://${address}/`) && !request.startsWith('data:'));
  assert.deepEqual({ complaints, outside }, { complaints: [], outside: [] });
  report('end');
} finally {
  await browser.close();
}
process.exit(0);
