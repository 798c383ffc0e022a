/**
 * Does the console of a real edge show a failover to whoever looks at it?
 *
 * Three regions with keepers, and headless Chromium, where there is one; else it is said that nothing
 * was looked at.
 */
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  type Browser,
  chromiumPath,
  type Page,
  startChromium,
} from '../../chaos/report/chromium-for-tests.ts';
import { consoleToken } from '../password-names.ts';
import { eventually, startTestDomicile, type TestDomicile } from '../world-for-tests.ts';
import type { WaysAnswer } from './console-state.ts';
import { startIssuer } from './issuer-for-tests.ts';
import { OPERATORS_FILE } from './local-operators.ts';

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

  test('whoever signs in at the page of an issuer comes back to the console, and leaves no code behind', async () => {
    const issuer = await startIssuer(Date.now);
    const file = join(domicile.root, OPERATORS_FILE);
    const before = await readFile(file, 'utf8');
    const here = domicile.url('us');
    try {
      issuer.redirects = [`${here}/console/sign-in/callback`];
      issuer.claims = { sub: 'u-1', email: 'eve@example.org', groups: ['sre'] };
      issuer.clientSecret = 'of-the-client';
      await writeFile(join(domicile.root, 'run', 'client-secret'), 'of-the-client\n', {
        mode: 0o600,
      });
      const entry = {
        ...{
          issuer: issuer.url,
          audience: 'api',
          jwks: `${issuer.url}/keys`,
          algorithms: ['ES256'],
        },
        roles: { claim: 'groups', operator: ['sre'] },
        name: 'email',
        signIn: {
          ...{ clientId: issuer.clientId, clientSecretFile: 'client-secret' },
          ...{ redirects: issuer.redirects, title: 'Example' },
        },
      };
      await writeFile(file, JSON.stringify({ ...JSON.parse(before), issuers: [entry] }));
      await page.resize(1_440, 1_000);
      const button = `document.querySelector('#ways button')`;
      await eventually('the door offers what the file says by now', async () => {
        const answer = await fetch(`${here}/console/sign-in/ways`);
        return ((await answer.json()) as WaysAnswer).ways.length > 0;
      });
      await page.open(`${here}/console`);
      await until('the way to the issuer', `${button}?.innerText === 'Sign in with Example'`);
      await page.evaluate(`${button}.click()`);
      await until(
        'the console',
        `document.getElementById('who')?.innerText === 'eve@example.org, operator'`,
      );
      expect(await page.evaluate('location.href')).toBe(`${here}/console`);
      expect(await page.evaluate('document.cookie')).toBe('');
      const asked = issuer.asked.find(({ path: at }) => at === '/token')?.body ?? '';
      const code = new URLSearchParams(asked).get('code') ?? '';
      expect(code.length).toBe(32);
      const held = await page.evaluate<string>(
        'document.documentElement.outerHTML + JSON.stringify([{ ...localStorage }, { ...sessionStorage }])',
      );
      expect(held).not.toContain(code);
      const run = join(domicile.root, 'run');
      const logs = (await readdir(run)).filter((name) => name.endsWith('.log'));
      expect(logs.length).toBeGreaterThan(2);
      const logged = await Promise.all(logs.map((name) => readFile(join(run, name), 'utf8')));
      expect(logged.join('\n')).toContain('console-sign-in');
      expect(logged.join('\n')).not.toContain(code);

      // Taken out of the file: the page leads to the door by itself.
      await writeFile(file, before);
      await until('the door', `document.getElementById('enter') !== null`);
    } finally {
      await writeFile(file, before);
      await issuer.close();
    }
  });

  test('an answer of an issuer that this browser has not asked for lets nobody in', async () => {
    const here = domicile.url('us');
    await page.open(`${here}/console/sign-in/callback?code=stolen&state=${'s'.repeat(43)}`);
    await until(
      'that it failed',
      `document.getElementById('says')?.innerText.includes('has begun at this edge')`,
    );
    expect(await page.evaluate('location.href')).toBe(`${here}/console`);
    expect(
      await page.evaluate(
        `fetch('/console/api/state').then(({ status }) => { window.status2 = status; }) && 0`,
      ),
    ).toBe(0);
    await until('an answer', 'window.status2 === 401');
  });

  test('a primary that stands still is seen to be replaced, without loading anything anew', async () => {
    page.requests.length = 0;
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

    // Killed it would be a standby again before a look has missed it, on a quick machine.
    domicile.clusters.kill('eu-a', 'SIGSTOP');
    try {
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
    } finally {
      domicile.clusters.kill('eu-a', 'SIGCONT');
    }
    expect(await page.evaluate('window.same')).toBe(true);
    expect(page.complaints).toEqual([]);
    const strangers = page.requests.filter((url) => !url.startsWith(domicile.url('us')));
    expect(strangers.filter((url) => url !== 'about:blank')).toEqual([]);
  });
});
