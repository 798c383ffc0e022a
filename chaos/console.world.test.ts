/**
 * Is a fault seen on the consoles of the system that it is done to, while it is done?
 *
 * A run as anybody starts it, in a world with consoles, and headless Chromium before one of them,
 * where there is one; else it is said that nothing was looked at.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Browser, chromiumPath, startChromium } from './report/chromium-for-tests.ts';
import { ChaosWorld } from './world.ts';

const path = chromiumPath();
if (path === undefined) console.warn('SKIPPED chaos on a console: no Chromium here');

const APP = resolve(import.meta.dirname, '../examples/witness/app.ts');
const MAIN = resolve(import.meta.dirname, 'main.ts');
const SCENARIO = 'primary-killed';
const MS_MAX = 300_000;

describe.skipIf(path === undefined)('on a console', { timeout: MS_MAX }, () => {
  let world: ChaosWorld;
  let browser: Browser;

  beforeAll(async () => {
    world = await ChaosWorld.start({
      app: APP,
      wan: false,
      environment: process.env,
      report: () => {},
      signal: new AbortController().signal,
    });
    browser = await startChromium(path ?? '');
  }, MS_MAX);
  afterAll(async () => {
    await browser?.close();
    await world?.stop();
  }, MS_MAX);

  test('a fault has its name, its band and its end, and so has what follows from it', async () => {
    const { page } = browser;
    const until = async (what: string, expression: string) => {
      for (const end = performance.now() + MS_MAX / 2; performance.now() < end; ) {
        if (await page.evaluate<boolean>(`!!(${expression})`).catch(() => false)) return;
        await new Promise((done) => setTimeout(done, 100));
      }
      const seen = await page.evaluate<string>('document.body.innerText.slice(0, 2000)');
      throw new Error(`never seen: ${what}\n${seen}`);
    };
    const says = (id: string) => `document.getElementById('${id}')?.innerText ?? ''`;
    const { said } = await world.domicile(['console-token', '--role', 'viewer']);
    await page.resize(1_440, 2_400);
    await page.open(`${world.edgesOf('us')[0]}/console`);
    await until('the door', `document.getElementById('enter') !== null`);
    await page.evaluate(`document.getElementById('token').focus()`);
    await page.type(/[\w-]{32,}/.exec(said)?.[0] ?? '');
    await page.press('Enter');
    await until(
      'that nobody has begun',
      `(${says('experiments')}).includes('Nobody has announced')`,
    );
    page.complaints.length = 0;

    const words = [MAIN, SCENARIO, '--seed', '7', '--root', world.root];
    const run = spawn(process.execPath, words, { stdio: 'ignore' });
    const over = once(run, 'close');
    await until(
      'the fault',
      `/SIGKILL to the primary of eu \\(eu-a\\).*, lasts/.test(${says('experiments')})`,
    );
    await until('what is tried', `(${says('notices')}).includes('“${SCENARIO}” is being tried')`);
    await until('its band at eu', `document.querySelector('.fault:not(.elsewhere)') !== null`);
    await until('its band elsewhere', `document.querySelectorAll('.fault.elsewhere').length === 2`);
    await until('who took over', `document.querySelector('.takeover') !== null`);
    await over;
    const tag = `document.querySelector('#experiments .tag')?.innerText`;
    await until('the verdict', `!${tag}.startsWith('runs for')`);
    // Which one it is others test; what was judged is told.
    expect(await page.evaluate(tag)).toMatch(/^(holds|inconclusive|broken)/);
    expect(await page.evaluate(says('experiments'))).toMatch(/SIGKILL .* at eu, for /);
    expect(await page.evaluate(says('experiments'))).not.toContain('lasts');
    expect(await page.evaluate(says('notices'))).not.toContain('is being tried');
    expect(page.complaints).toEqual([]);
  });
});
