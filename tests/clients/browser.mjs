// Chromium, driven by playwright-core: browser.mjs CHROMIUM ADDRESS PICTURES. Two windows show the vote page; what they show is
// printed, one JSON line each. A line on standard input makes it go on after "restart": the server was ended and started again.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { load } from './installed.mjs';

const { chromium } = await load('playwright-core');
const [executablePath, address, pictures] = process.argv.slice(2);
const url = `http://${address}/vote`;
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const report = (step, seen = {}) => console.log(JSON.stringify({ step, ...seen }));

const profile = mkdtempSync(join(tmpdir(), 'tallycast-browser-'));
const browser = await chromium.launchPersistentContext(profile, {
  executablePath,
  headless: true,
  chromiumSandbox: false,
  viewport: { width: 900, height: 800 },
  locale: 'en',
  args: [
    '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update',
    '--disable-sync',
  ],
});
browser.setDefaultTimeout(30_000);
const complaints = [];
const requests = [];

async function open(context) {
  const page = await context.newPage();
  page.on('pageerror', (error) => complaints.push(String(error)));
  page.on('console', (message) => {
    // That the server is away for a moment is what this test does: the browser's own word for it is no complaint.
    const away = /ERR_CONNECTION_REFUSED|ERR_CONNECTION_RESET|ERR_EMPTY_RESPONSE|WebSocket connection to/.test(message.text());
    if (['error', 'warning'].includes(message.type()) && !away) complaints.push(message.text());
  });
  page.on('request', (request) => requests.push(request.url()));
  await page.goto(url);
  await state(page, 'live');
  return page;
}
const state = (page, wanted) => page.waitForFunction((wanted) => document.documentElement.dataset.state === wanted, wanted);
const counts = (page) => page.$$eval('[data-option]', (options) => Object.fromEntries(
  options.map((option) => [option.dataset.option, Number(option.querySelector('.count').textContent)])));
const shows = (page, option, count) => page.waitForFunction(
  ([option, count]) => Number(document.querySelector(`[data-option="${option}"] .count`).textContent) === count, [option, count]);
// The button of an option: the option itself, or inside it.
const vote = (page, option) => page.locator(`button[data-option="${option}"], [data-option="${option}"] button`).first().click();

try {
  const one = await open(browser);
  const two = await open(browser);
  // Each knows of the other.
  const listeners = (page, count) => page.waitForFunction((count) => document.querySelector('#listeners b').textContent === count, count);
  await Promise.all([listeners(one, '2'), listeners(two, '2')]);
  report('open', { one: await counts(one), two: await counts(two), lang: await one.evaluate(() => document.documentElement.lang) });

  await vote(one, '1');
  await Promise.all([shows(one, '1', 1), shows(two, '1', 1)]);
  await vote(two, '2');
  await Promise.all([shows(one, '2', 1), shows(two, '2', 1)]);
  await vote(two, '2');
  await Promise.all([shows(one, '2', 2), shows(two, '2', 2)]);
  report('voted', { one: await counts(one), two: await counts(two) });
  await one.screenshot({ path: join(pictures, 'vote-en.png') });

  report('restart');
  await lines.next();
  // Ended: both wait. Started again, with a memory of nothing: both are live by themselves and show the new truth.
  await Promise.all([one, two].map((page) => state(page, 'waiting')));
  report('waiting');
  await lines.next();
  await Promise.all([one, two].map((page) => state(page, 'live')));
  await Promise.all([one, two].map((page) => shows(page, '1', 0)));
  report('back', { one: await counts(one), two: await counts(two) });
  await vote(one, '3');
  await Promise.all([shows(one, '3', 1), shows(two, '3', 1)]);
  report('voted again', { one: await counts(one), two: await counts(two) });

  const looks = [
    { name: 'vote-zh', locale: 'zh-CN', viewport: { width: 900, height: 800 } },
    { name: 'vote-en-360', locale: 'en', viewport: { width: 360, height: 740 }, isMobile: true, deviceScaleFactor: 2 },
    { name: 'vote-zh-360', locale: 'zh-CN', viewport: { width: 360, height: 740 }, isMobile: true, deviceScaleFactor: 2 },
    { name: 'vote-dark', locale: 'en', viewport: { width: 900, height: 800 }, colorScheme: 'dark' },
  ];
  const second = await chromium.launch({ executablePath, headless: true, chromiumSandbox: false, args: ['--disable-gpu'] });
  for (const { name, ...options } of looks) {
    const context = await second.newContext(options);
    const page = await open(context);
    await page.screenshot({ path: join(pictures, `${name}.png`) });
    const seen = await page.evaluate(() => ({
      lang: document.documentElement.lang,
      text: document.body.innerText,
      // Wider than the window: something sticks out, and a phone would scroll sideways.
      overflow: document.documentElement.scrollWidth - window.innerWidth,
      colours: [document.documentElement, document.body].map((part) => getComputedStyle(part).backgroundColor).join(' '),
    }));
    report('look', { name, ...seen });
    await context.close();
  }

  // Without JavaScript the page shows the counts all the same.
  const plain = await second.newContext({ javaScriptEnabled: false });
  const page = await plain.newPage();
  await page.goto(url);
  const shown = await page.locator('[data-option="3"] .count').textContent();
  report('without JavaScript', { shown: Number(shown) });
  await second.close();

  const outside = requests.filter((request) => !request.startsWith(url) && !request.startsWith(`ws://${address}/`) && !request.startsWith('data:'));
  report('end', { complaints, outside });
} finally {
  await browser.close();
  rmSync(profile, { recursive: true, force: true });
}
process.exit(0);
