/**
 * Does a real browser show the pages as they are meant?
 *
 * Headless Chromium, where there is one; else it is said that nothing was looked at.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Browser, chromiumPath, startChromium } from './chromium-for-tests.ts';
import { reportHtml } from './html-report.ts';
import { indexHtml, summaryOf } from './index-page.ts';
import {
  brokenRecord,
  calmRecord,
  emptyRecord,
  hostileRecord,
  killRecord,
  stormRecord,
} from './record-for-tests.ts';

const path = chromiumPath();
if (path === undefined) console.warn('SKIPPED the reports in a browser: no Chromium here');

/** A browser is slow to start where much else is going on. */
const START_WITHIN_MS = 120_000;
const WORD = 'W'.repeat(300);
const ATTACK = `</title></script><script>document.title='run'</script><img src="http://127.0.0.1:9/x" onerror="document.title='run'">`;

describe.skipIf(path === undefined)('in Chromium', () => {
  const folder = mkdtempSync(join(tmpdir(), 'chaos-pages-'));
  const records = {
    calm: calmRecord(1_500),
    kill: killRecord(),
    broken: brokenRecord(),
    storm: stormRecord(4_000),
    empty: emptyRecord(),
    hostile: hostileRecord(ATTACK),
    'long-words': hostileRecord(WORD),
  };
  const names = [...Object.keys(records), 'index'];
  let browser: Browser;

  beforeAll(async () => {
    for (const [name, record] of Object.entries(records))
      writeFileSync(join(folder, `${name}.html`), reportHtml(record));
    const runs = Object.entries(records).map(([name, run]) => summaryOf(run, `${name}.html`));
    writeFileSync(join(folder, 'index.html'), indexHtml(runs));
    browser = await startChromium(path ?? '');
  }, START_WITHIN_MS);
  afterAll(async () => {
    await browser?.close();
    rmSync(folder, { recursive: true, force: true });
  });

  const address = (name: string) => `file://${join(folder, `${name}.html`)}`;

  test.each(names)(
    '%s asks for nothing, complains of nothing and fits its window',
    async (name) => {
      const { page } = browser;
      page.complaints.length = 0;
      page.requests.length = 0;
      for (const width of [400, 1_440]) {
        await page.resize(width, 900);
        await page.open(address(name));
        // Folded parts count as well.
        await page.evaluate(
          `for (const one of document.querySelectorAll('details')) one.open = true`,
        );
        const size = await page.evaluate<number>('document.scrollingElement.scrollWidth');
        expect(size).toBe(width);
      }
      expect(page.complaints).toEqual([]);
      const elsewhere = page.requests.filter((url) => url !== address(name) && url !== 'data:,');
      expect(elsewhere).toEqual([]);
      expect(await page.evaluate('document.title')).not.toBe('run');
      expect(await page.evaluate('document.querySelectorAll("img").length')).toBe(0);
    },
  );

  test.each(['kill', 'storm', 'broken'])('no label of %s is cut off', async (name) => {
    const { page } = browser;
    for (const width of [400, 1_440]) {
      await page.resize(width, 900);
      await page.open(address(name));
      const out = await page.evaluate<
        string[]
      >(`[...document.querySelectorAll('svg text')].filter((one) => {
        const box = one.getBoundingClientRect();
        return box.width > 0 && (box.left < -1 || box.right > ${width} + 1);
      }).map((one) => one.textContent)`);
      expect(out).toEqual([]);
    }
  });

  test('the pointer and the arrow keys read the figures that the table has', async () => {
    const { page } = browser;
    await page.resize(1_440, 900);
    await page.open(address('kill'));
    const legend = 'document.querySelector("[data-column=\\"5\\"]").textContent';
    const inTable = (row: number) =>
      page.evaluate<string>(
        `document.getElementById('figures').tBodies[0].rows[${row}].cells[5].textContent`,
      );
    expect(await page.evaluate(legend)).toBe('');
    await page.evaluate(`document.getElementById('timeline').scrollIntoView()`);
    const box = await page.evaluate<{ left: number; width: number }>(
      `(({ left, width }) => ({ left, width }))(document.querySelector('.behind').getBoundingClientRect())`,
    );
    await page.pointAt(box.left + box.width * 0.301, 400);
    expect(await page.evaluate(`document.getElementById('readout-time').textContent`)).toBe('12 s');
    expect(await page.evaluate(`document.getElementById('readout-says').textContent`)).toContain(
      'F1 SIGSTOP to the primary of eu (eu-a)',
    );
    expect(await page.evaluate(legend)).toBe(await inTable(24));
    await page.evaluate(`document.getElementById('readout').focus()`);
    await page.press('ArrowRight');
    expect(await page.evaluate(`document.getElementById('readout-time').textContent`)).toBe(
      '12.5 s',
    );
    expect(await page.evaluate(legend)).toBe(await inTable(25));
    await page.press('Home');
    expect(await page.evaluate(legend)).toBe(await inTable(0));
    expect(
      await page.evaluate(`document.getElementById('readout').getAttribute('aria-valuetext')`),
    ).toMatch(/^0 s, no fault\. .*ok \d+/);
  });

  test('in the dark, ink is light and paper dark, and on paper nothing is wider than it', async () => {
    const { page } = browser;
    await page.resize(700, 900);
    await page.open(address('broken'));
    const colours = () =>
      page.evaluate<string>(
        '(({ color, backgroundColor }) => color + backgroundColor)(getComputedStyle(document.body))',
      );
    await page.media('light');
    const light = await colours();
    await page.media('dark');
    expect([light, await colours()]).toEqual([
      'rgb(27, 32, 39)rgb(255, 255, 255)',
      'rgb(231, 234, 237)rgb(20, 23, 27)',
    ]);
    await page.media('light', 'print');
    expect(await page.evaluate('document.scrollingElement.scrollWidth')).toBe(700);
    await page.media('light');
  });
});
