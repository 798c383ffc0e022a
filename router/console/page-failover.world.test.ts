/**
 * Does the console of a real edge show a failover to whoever looks at it?
 *
 * Three regions with keepers, and headless Chromium, where there is one; else it is said that nothing
 * was looked at.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  type Browser,
  chromiumPath,
  type Page,
  startChromium,
} from '../../chaos/report/chromium-for-tests.ts';
import { consoleToken } from '../password-names.ts';
import { startTestDomicile, type TestDomicile } from '../world-for-tests.ts';

const path = chromiumPath();
if (path === undefined) console.warn('SKIPPED the console of a real edge: no Chromium here');

const START_WITHIN_MS = 300_000;
const SEEN_WITHIN_MS = 120_000;

describe.skipIf(path === undefined)('in Chromium', { timeout: START_WITHIN_MS }, () => {
  let domicile: TestDomicile;
  let browser: Browser;
  let page: Page;

  beforeAll(async () => {
    domicile = await startTestDomicile({ keepers: true, metrics: true });
    browser = await startChromium(path ?? '');
    page = browser.page;
  }, START_WITHIN_MS);
  afterAll(async () => {
    await browser?.close();
    await domicile?.remove();
  }, START_WITHIN_MS);

  async function until(what: string, expression: string): Promise<void> {
    const end = performance.now() + SEEN_WITHIN_MS;
    while (performance.now() < end) {
      if (await page.evaluate<boolean>(`!!(${expression})`).catch(() => false)) return;
      await new Promise((done) => setTimeout(done, 100));
    }
    throw new Error(
      `never seen: ${what}\n${await page.evaluate<string>('document.body.innerText.slice(0, 2000)')}`,
    );
  }

  const row = (node: string) =>
    `document.querySelector('#regions tr[data-key="${node}"]')?.innerText.replaceAll(/\\s+/g, ' ')`;

  test('a primary that is killed is seen to be replaced, without loading anything anew', async () => {
    await page.resize(1_440, 1_000);
    await page.open(`${domicile.url('us')}/console`);
    await until('the door', `document.getElementById('enter') !== null`);
    await page.evaluate(`document.getElementById('token').focus()`);
    await page.type(domicile.clusters.password(consoleToken('operator')));
    await page.press('Enter');
    await until('eu as it is', `${row('eu-a')}?.startsWith('eu-a primary 1 ')`);
    await until('a replica', `${row('eu-b')}?.startsWith('eu-b replica 1 ')`);
    await page.evaluate('window.same = true');
    // A browser notes the status of the door's own page, which says that nobody has signed in.
    page.complaints.length = 0;

    domicile.clusters.kill('eu-a', 'SIGKILL');
    await until('the new primary', `${row('eu-b')}?.startsWith('eu-b primary 2 ')`);
    await until('the old one', `document.querySelector('#regions tr[data-key="eu-a"].silent')`);
    await until(
      'that it happened',
      `document.getElementById('failovers').innerText.includes('eu-b')`,
    );
    await until(
      'that it matters',
      `document.getElementById('notices').innerText.includes('eu-a does not answer')`,
    );
    expect(await page.evaluate('window.same')).toBe(true);
    expect(page.complaints).toEqual([]);
    const strangers = page.requests.filter((url) => !url.startsWith(domicile.url('us')));
    expect(strangers.filter((url) => url !== 'about:blank')).toEqual([]);
  });
});
