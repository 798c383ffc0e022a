/**
 * Does a real browser show the console as it is meant, and to a keyboard, a narrow screen and a
 * broken line as well?
 *
 * Headless Chromium, where there is one; else it is said that nothing was looked at.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import {
  type Browser,
  chromiumPath,
  type Page,
  startChromium,
} from '../../chaos/report/chromium-for-tests.ts';
import type { ConsoleState } from './console-state.ts';
import {
  crowdedState,
  darkRegionState,
  experimentState,
  failoverState,
  hostileState,
  idleState,
  ordinaryState,
  replacedState,
  someRefusals,
  subjectAnswer,
  traceId,
  traceLines,
  wellState,
  wholeTraceAnswer,
} from './console-states-for-tests.ts';
import { type StandIn, startStandIn } from './stand-in-for-tests.ts';

const path = chromiumPath();
if (path === undefined) console.warn('SKIPPED the console in a browser: no Chromium here');

/** A browser is slow to start where much else is going on. */
const START_WITHIN_MS = 120_000;
const SEEN_WITHIN_MS = 60_000;
/** Many steps, each of which a browser draws. */
const TEST_MS_MAX = 180_000;
const ATTACK = `"></title></script><script>document.title='run'</script><img src="http://127.0.0.1:9/x" onerror="document.title='run'">`;
const STATES: Readonly<Record<string, (atMs: number) => ConsoleState>> = {
  well: wellState,
  idle: idleState,
  failing: (atMs) => failoverState(atMs, false),
  'taken over': (atMs) => failoverState(atMs, true),
  'dark region': darkRegionState,
  experiment: experimentState,
  replaced: replacedState,
  crowded: crowdedState,
  attack: (atMs) => hostileState(atMs, ATTACK),
  'long words': (atMs) => hostileState(atMs, 'W'.repeat(300)),
};

async function until(page: Page, what: string, expression: string): Promise<void> {
  const end = performance.now() + SEEN_WITHIN_MS;
  while (performance.now() < end) {
    // While a page is left for another, nothing can be asked.
    if (await page.evaluate<boolean>(`!!(${expression})`).catch(() => false)) return;
    await new Promise((done) => setTimeout(done, 50));
  }
  const seen = await page.evaluate<string>('document.body.innerText.slice(0, 1500)');
  throw new Error(`never seen: ${what}\n${seen}`);
}

/** Below the charts; goes on with each state. */
const CLOCK = `document.querySelector('.axis').innerText`;
const says = (id: string) => `document.getElementById('${id}').innerText`;

describe.skipIf(path === undefined)('the console in Chromium', { timeout: TEST_MS_MAX }, () => {
  let browser: Browser;
  let page: Page;
  let edge: StandIn;

  beforeAll(async () => {
    browser = await startChromium(path ?? '');
    page = browser.page;
    edge = await startStandIn(Date.now);
  }, START_WITHIN_MS);
  afterAll(async () => {
    await browser?.close();
    await edge?.close();
  });
  beforeEach(async () => {
    await page.open('about:blank');
    const nowMs = Date.now();
    Object.assign(edge, {
      signedIn: true,
      ways: [],
      refuses: false,
      refusalsAnswer: { telemetry: 'on', refusals: someRefusals(nowMs) },
      traces: traceLines(nowMs, 14),
      trace: wholeTraceAnswer(nowMs, traceId(3)),
      subject: subjectAnswer(nowMs),
    });
    edge.asked.length = 0;
    edge.tell(STATES.well);
    page.complaints.length = 0;
    page.requests.length = 0;
    // High enough that all lists are in the window: those that are not looked at are not asked for.
    await page.resize(1_440, 2_400);
    await page.media('light');
  });

  async function openConsole(hash = ''): Promise<void> {
    await page.open(`${edge.url}/console${hash}`);
    await until(page, 'the console', `${says('where')} === 'eu'`);
  }

  test('who has not signed in sees a door that says nothing, and comes in with a token', async () => {
    edge.signedIn = false;
    await page.open(`${edge.url}/console`);
    await until(page, 'the door', `document.getElementById('enter') !== null`);
    const words = await page.evaluate<string>('document.documentElement.innerText');
    expect(words).not.toMatch(/\beu\b|0\.1\.0|polic/i);

    await page.evaluate(`document.getElementById('token').focus()`);
    await page.type('a wrong one');
    await page.press('Enter');
    await until(page, 'the refusal', `${says('says')}.includes('not one of an operator')`);

    // The field is selected again, so that the next paste replaces the wrong one.
    await page.type(edge.token);
    await page.press('Enter');
    await until(page, 'the console', `document.getElementById('headline') !== null`);
    await until(page, 'what is going on', `${says('headline')}.includes('All 3 regions are well')`);
    const sent = edge.asked.filter((one) => one.path === '/console/sign-in');
    expect(sent.map(({ header }) => header)).toEqual(['1', '1']);
    expect(page.requests.filter((url) => url.includes('token'))).toEqual([]);
    expect(await page.evaluate('JSON.stringify(localStorage) + document.cookie')).toBe('{}');
  });

  test('a door with issuers offers each by its name, as text, and says what the edge says of it', async () => {
    edge.signedIn = false;
    edge.ways = [{ title: 'Example' }, { title: ATTACK }];
    await page.resize(400, 800);
    await page.open(`${edge.url}/console`);
    await until(page, 'both', `document.querySelectorAll('#ways button').length === 2`);
    expect(await page.evaluate(`document.querySelectorAll('#ways button')[1].innerText`)).toBe(
      `Sign in with ${ATTACK}`,
    );
    expect(await page.evaluate<number>('document.scrollingElement.scrollWidth')).toBe(400);
    expect(await page.evaluate('document.title')).toBe('Sign in');
    await page.evaluate(`document.querySelectorAll('#ways button')[0].click()`);
    await until(page, 'why not', `${says('says')} === 'Nothing begins here'`);
    expect(edge.asked.at(-1)).toMatchObject({ path: '/console/sign-in/begin', body: '{"way":0}' });
    expect(await page.evaluate(`document.getElementById('enter').disabled`)).toBe(false);
  });

  test('signing out leaves the page', async () => {
    await openConsole();
    await page.evaluate(`document.querySelector('[data-do=out]').click()`);
    await until(page, 'the door', `document.getElementById('enter') !== null`);
    expect(edge.asked.find((one) => one.path === '/console/sign-out')?.header).toBe('1');
  });

  test('a failover is seen while it happens, without loading anything anew', async () => {
    await openConsole();
    await page.evaluate('window.same = true');
    edge.tell(STATES.failing);
    await until(page, 'that it fails', `${says('headline')}.includes('Something is wrong in eu')`);
    await until(page, 'why', `${says('notices')}.includes('No primary answers')`);
    edge.tell(STATES['taken over']);
    await until(page, 'who leads', `${says('headline')}.includes('eu needs attention')`);
    const row = await page.evaluate<string>(
      `document.querySelector('[data-key="eu"] tr[data-key="eu-b"]').innerText`,
    );
    expect(row.split(/\s+/).slice(0, 3)).toEqual(['eu-b', 'primary', '2']);
    expect(await page.evaluate(`document.querySelector('.takeover').textContent`)).toBe(
      'eu-b takes over',
    );
    expect(await page.evaluate(says('failovers'))).toContain('so eu-b took over');
    expect(await page.evaluate('window.same')).toBe(true);
  });

  test('what is new is said aloud once, and what was there at the first look is not', async () => {
    edge.tell(STATES.experiment);
    await openConsole();
    await until(page, 'lag', `${says('notices')}.includes('us-b lags')`);
    expect(await page.evaluate(`document.getElementById('aloud').textContent`)).toBe('');
    edge.tell(STATES.failing);
    const aloud = `document.getElementById('aloud').textContent`;
    await until(page, 'words', `${aloud}.includes('No primary answers')`);
    await page.evaluate(
      `window.said = 0; new MutationObserver(() => window.said++).observe(document.getElementById('aloud'), { childList: true, characterData: true, subtree: true })`,
    );
    const before = await page.evaluate<string>(CLOCK);
    await until(page, 'a later state', `${CLOCK} !== ${JSON.stringify(before)}`);
    expect(await page.evaluate('window.said')).toBe(0);
  });

  test('that the stream broke is said, with since when, and so is that it goes on', async () => {
    await openConsole();
    edge.refuses = true;
    edge.breakStreams();
    await until(page, 'not live', `/not live since \\d\\d:\\d\\d:\\d\\d/.test(${says('live')})`);
    expect(await page.evaluate(says('headline'))).toMatch(/^At \d\d:\d\d:\d\d: All 3/);
    expect(await page.evaluate(says('stale'))).toContain('as it was at');
    edge.refuses = false;
    edge.tell(STATES['dark region']);
    await until(page, 'live again', `${says('live')} === 'live'`);
    await until(page, 'news', `${says('headline')} === 'Something is wrong in asia'`);
    expect(await page.evaluate(`document.getElementById('stale').hidden`)).toBe(true);
  });

  test('a stream that is open and silent counts as broken', async () => {
    await openConsole();
    edge.tell(undefined);
    await until(page, 'not live', `${says('live')}.includes('not live since')`);
    edge.tell(STATES.well);
    await until(page, 'live again', `${says('live')} === 'live'`);
  });

  test('a session that has ended leads to the door', async () => {
    // So low that no list is looked at, which would find out by itself.
    await page.resize(1_440, 300);
    await openConsole();
    edge.signedIn = false;
    edge.breakStreams();
    await until(page, 'the door', `document.getElementById('enter') !== null`);
  });

  test('a region that is silent is told once, not with each of its links', async () => {
    edge.tell(STATES['dark region']);
    await openConsole();
    await until(page, 'that', `${says('notices')}.includes('has not answered for')`);
    const words = await page.evaluate<string>(says('notices'));
    expect(words.match(/\basia\b/g)).toHaveLength(1);
    expect(await page.evaluate(`document.querySelectorAll('.map .cut').length`)).toBe(3);
  });

  test('what clients ask for in vain is no trouble, and a standby that returns is no takeover', async () => {
    edge.tell(ordinaryState);
    await openConsole();
    await until(page, 'the refusals', `${says('traffic')}.includes('No such subject')`);
    expect(await page.evaluate(says('headline'))).toBe('All 3 regions are well');
    expect(await page.evaluate(`document.querySelectorAll('.takeover').length`)).toBe(1);
    expect(await page.evaluate(says('notices'))).toBe('eu eu-b took over 1 min 0 s ago.');
  });

  test('names of faults and of who takes over never stand on each other', async () => {
    edge.tell(crowdedState);
    await openConsole();
    await until(page, 'faults', `document.querySelector('.fault-lines text') !== null`);
    const words = await page.evaluate<string[]>(
      `[...document.querySelectorAll('.bars')].flatMap((chart) => {
        const all = [...chart.querySelectorAll('.fault-lines text, .takeover text')];
        return all.flatMap((one, at) => all.slice(at + 1).flatMap((other) => {
          const [a, b] = [one.getBoundingClientRect(), other.getBoundingClientRect()];
          const apart = a.right <= b.left || b.right <= a.left || a.bottom <= b.top + 2 || b.bottom <= a.top + 2;
          return apart ? [] : [one.textContent + ' / ' + other.textContent];
        }));
      })`,
    );
    expect(words).toEqual([]);
    const shown = await page.evaluate<string>(
      `[...document.querySelectorAll('.fault-lines text, .takeover text')].map((one) => one.textContent).join()`,
    );
    expect(shown).toContain('SIGKILL to the primary of eu (eu-a), eu');
    expect(shown).toContain('eu-b takes over');
    // What has no room is told by pointing at it, and among the experiments.
    expect(shown).not.toContain('one more');
    expect(await page.evaluate(says('experiments'))).toContain('one more than there is room for');
  });

  test('a primary that was replaced does not look well, and is told', async () => {
    edge.tell(replacedState);
    await openConsole();
    const row = `document.querySelector('[data-key="eu"] tr[data-key="eu-a"]')`;
    await until(page, 'the node', `${row}?.innerText.includes('was replaced')`);
    expect(await page.evaluate(`${row}.className`)).toBe('unknown');
    expect(await page.evaluate(`${row}.title`)).toContain('nothing is sent to it');
    expect(await page.evaluate(says('notices'))).toContain('eu-a was replaced and still says');
    expect(await page.evaluate(says('headline'))).toContain('eu');
    const drawn = await page.evaluate<string>(
      `[...document.querySelectorAll('.map [data-key="eu"] .node')].map((one) => one.getAttribute('class')).join()`,
    );
    expect(drawn).toBe('node unknown,node serves');
  });

  test('where telemetry is off the lists say so, and how it begins, instead of being empty', async () => {
    edge.tell(replacedState);
    edge.refusalsAnswer = { telemetry: 'off', refusals: [] };
    edge.traces = { telemetry: 'off', traces: [] };
    await openConsole();
    await until(page, 'why there are none', `${says('traces')}.includes('Telemetry is off')`);
    for (const id of ['traces', 'refusals']) {
      expect(await page.evaluate(says(id))).toContain('DOMICILE_TELEMETRY=on');
    }
    expect(await page.evaluate(says('traces-count'))).toBe('');
    expect(await page.evaluate(says('notices'))).toContain('Telemetry is off at its edge');
  });

  test('an operators file that is none is told, with the region and for how long', async () => {
    edge.tell(replacedState);
    await openConsole();
    await until(page, 'that', `${says('notices')}.includes('operators file')`);
    expect(await page.evaluate(says('notices'))).toMatch(/us Its operators file .* for 1 min 35 s/);
  });

  test('everything can be reached and done with the keyboard, and it is seen where one is', async () => {
    await openConsole();
    await until(page, 'traces', `document.querySelectorAll('#traces a').length > 5`);
    const focused = `(() => { const at = document.activeElement; const box = at.getBoundingClientRect();
      return { is: at.id || at.dataset.do || at.getAttribute('href') || at.nodeName,
        outline: getComputedStyle(at).outlineStyle, inside: box.right > 0 && box.width > 0 }; })()`;
    const seen: string[] = [];
    for (let step = 0; step < 120 && !seen.includes('who-is-it'); step++) {
      await page.press('Tab');
      const { is, outline, inside } = await page.evaluate<{
        is: string;
        outline: string;
        inside: boolean;
      }>(focused);
      expect([is, outline, inside]).toEqual([is, 'solid', true]);
      seen.push(is);
    }
    expect(seen[0]).toBe('#main');
    for (const one of ['theme', 'out', 'point', 'hold', 'by-decision', 'by-text', 'who-is-it'])
      expect(seen).toContain(one);
    expect(seen.indexOf('#now')).toBeLessThan(seen.indexOf('point'));
    expect(seen.indexOf('point')).toBeLessThan(seen.indexOf('hold'));
  });

  test('arrow keys read single seconds of a chart', async () => {
    await openConsole();
    await until(page, 'a chart', `document.querySelector('svg.bars') !== null`);
    await page.evaluate(`document.querySelector('svg.bars').focus()`);
    await page.press('ArrowLeft');
    await page.press('ArrowLeft');
    await until(page, 'a time', `/ at \\d\\d:\\d\\d:\\d\\d/.test(${says('traffic')})`);
    expect(await page.evaluate(`document.querySelectorAll('.pointed').length`)).toBe(3);
  });

  test('a trace opens with Enter, says why, and Escape leads back to where one was', async () => {
    await openConsole();
    await until(page, 'traces', `document.querySelectorAll('#traces a').length > 5`);
    await page.evaluate(`document.querySelectorAll('#traces a')[2].focus()`);
    await page.press('Enter');
    await until(page, 'the reason', `${says('trace-body')}.includes('Sent on from eu to us')`);
    const words = await page.evaluate<string>(says('trace-body'));
    expect(words).toContain('us-b had not replayed what the session has seen');
    expect(words).toContain('domicile.policy.version');
    expect(await page.evaluate(`document.querySelectorAll('.span').length`)).toBe(7);
    expect(words).toContain('7 spans of eu and us');
    expect(words).toContain(
      'asia did not answer: its part is missing (it does not answer in time)',
    );
    expect(words).toContain('The clock of us differs by 212 ms or more');
    // Where the request came to another edge its region stands before the name.
    const regions = await page.evaluate<string[]>(
      `[...document.querySelectorAll('.span .tag')].map((one) => one.parentElement.innerText)`,
    );
    expect(regions).toEqual([
      'eu POST /users/:user/orders',
      'us POST /users/:user/orders',
      'eu POST /.domicile/claims',
    ]);
    await page.evaluate(`document.querySelectorAll('.span')[3].focus()`);
    await page.press('Enter');
    await until(page, 'attributes', `${says('trace-body')}.includes('domicile.durability')`);
    await page.press('Escape');
    await until(page, 'the end of it', `!document.getElementById('trace').open`);
    await until(page, 'the way back', `location.hash === ''`);
    const back = await page.evaluate('document.activeElement.getAttribute("href")');
    expect(back).toBe(`#trace/${traceId(2)}`);
  });

  test('an address with a trace opens it, and a trace that is gone is said to be', async () => {
    edge.trace = undefined;
    await openConsole(`#trace/${traceId(9)}`);
    await until(page, 'that it is gone', `${says('trace-body')}.includes('not kept any more')`);
  });

  test('focus stays where it is while new traces come in above', async () => {
    await openConsole();
    await until(page, 'traces', `document.querySelectorAll('#traces a').length > 5`);
    await page.evaluate(`document.querySelectorAll('#traces a')[3].focus()`);
    const nowMs = Date.now();
    const [first] = edge.traces.traces;
    const fresh = { ...(first ?? traceLines(nowMs, 1).traces[0]), traceId: 'f'.repeat(32) };
    edge.traces = { traces: [fresh as (typeof edge.traces.traces)[number], ...edge.traces.traces] };
    await until(
      page,
      'the new one',
      `document.querySelector('a[href="#trace/${'f'.repeat(32)}"]')`,
    );
    const at = await page.evaluate('document.activeElement.getAttribute("href")');
    expect(at).toBe(`#trace/${traceId(3)}`);
  });

  test('traces can be chosen by decision, time and words, and held', async () => {
    await openConsole();
    await until(page, 'traces', `document.querySelectorAll('#traces tbody tr').length > 5`);
    await page.evaluate(
      `(() => { const by = document.getElementById('by-decision'); by.value = 'forward'; by.dispatchEvent(new Event('input', { bubbles: true })); })()`,
    );
    const decisions = await page.evaluate<string[]>(
      `[...document.querySelectorAll('#traces tbody tr td:nth-child(3)')].map((one) => one.innerText.trim())`,
    );
    expect(new Set(decisions)).toEqual(new Set(['forwarded to us']));
    await page.evaluate(`document.querySelector('[data-do=hold]').click()`);
    const before = edge.asked.filter((one) => one.path === '/console/api/traces').length;
    const then = await page.evaluate<string>(CLOCK);
    await until(page, 'a later state', `${CLOCK} !== ${JSON.stringify(then)}`);
    expect(edge.asked.filter((one) => one.path === '/console/api/traces')).toHaveLength(before);
  });

  test('an operator asks for a subject in a body, never in an address; a viewer is not offered it', async () => {
    await openConsole();
    await until(page, 'the field', `document.getElementById('who-is-it').offsetWidth > 0`);
    await page.evaluate(`document.getElementById('who-is-it').focus()`);
    await page.type('ada@example.org');
    await page.press('Enter');
    await until(page, 'the home', `${says('explained')}.includes('At home in eu')`);
    const sent = edge.asked.find((one) => one.path === '/console/api/subjects/explain');
    expect(sent).toMatchObject({ header: '1', body: '{"subject":"ada@example.org"}' });
    expect(page.requests.filter((url) => url.includes('ada'))).toEqual([]);
    edge.tell(STATES.experiment);
    await until(page, 'a viewer', `${says('who')}.includes('viewer')`);
    expect(await page.evaluate(`document.getElementById('subject').hidden`)).toBe(true);
  });

  test.each(Object.keys(STATES))(
    '%s: nothing is asked elsewhere or complained of, and it fits 400 px',
    async (name) => {
      edge.tell(STATES[name]);
      await page.resize(400, 800);
      for (const hash of ['', `#trace/${traceId(3)}`]) {
        await page.open('about:blank');
        await openConsole(hash);
        await until(page, 'lists', `document.querySelectorAll('#map svg').length === 1`);
        const width = await page.evaluate<number>('document.scrollingElement.scrollWidth');
        expect([hash, width]).toEqual([hash, 400]);
      }
      await page.evaluate(`document.getElementById('at-traces').scrollIntoView()`);
      await until(page, 'traces', `document.querySelectorAll('#traces a').length > 5`);
      expect(await page.evaluate<number>('document.scrollingElement.scrollWidth')).toBe(400);
      expect(page.complaints).toEqual([]);
      const strangers = page.requests.filter(
        (url) => !url.startsWith(`${edge.url}/console`) && url !== 'about:blank',
      );
      expect(strangers).toEqual([]);
    },
  );

  test('what an attacker writes stays text', async () => {
    edge.tell(STATES.attack);
    await openConsole();
    await until(page, 'the attack', `${says('regions')}.includes('<img src=')`);
    expect(await page.evaluate(`document.querySelectorAll('img, script:not([src])').length`)).toBe(
      0,
    );
    expect(await page.evaluate('document.title')).toContain('Domicile');
  });

  test('dark follows the system, and the switch overrides it and is remembered', async () => {
    const paper = `getComputedStyle(document.body).backgroundColor`;
    await openConsole();
    const light = await page.evaluate<string>(paper);
    await page.media('dark');
    const dark = await page.evaluate<string>(paper);
    expect(dark).not.toBe(light);
    await page.evaluate(`document.querySelector('[data-do=theme]').click()`);
    expect(await page.evaluate(says('theme'))).toBe('Theme: light');
    expect(await page.evaluate(paper)).toBe(light);
    await openConsole();
    expect(await page.evaluate(paper)).toBe(light);
    await page.evaluate(`localStorage.clear()`);
  });

  test.each(['light', 'dark'] as const)('words can be read in the %s', async (scheme) => {
    await page.media(scheme);
    edge.tell(STATES['dark region']);
    await openConsole();
    await until(page, 'refusals', `document.querySelectorAll('#refusals li').length > 0`);
    const poor = await page.evaluate<string[]>(`(() => {
      const canvas = new OffscreenCanvas(1, 1).getContext('2d', { willReadFrequently: true });
      const rgb = (colour) => { canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1); return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3); };
      const light = (colour) => rgb(colour).map((v) => v / 255).map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4).reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
      const behind = (at) => { for (; at; at = at.parentElement) { const own = getComputedStyle(at).backgroundColor; if (own !== 'rgba(0, 0, 0, 0)') return own; } return 'white'; };
      const found = [];
      for (const at of document.querySelectorAll('body *')) {
        const words = [...at.childNodes].filter((one) => one.nodeType === 3 && one.data.trim() !== '');
        if (words.length === 0 || at.getClientRects().length === 0) continue;
        const style = getComputedStyle(at);
        const ink = at instanceof SVGElement ? style.fill : style.color;
        const [a, b] = [light(ink), light(behind(at))].sort((x, y) => y - x);
        const contrast = (a + 0.05) / (b + 0.05);
        if (contrast < 4.5) found.push(at.className.baseVal ?? at.className + ' ' + contrast.toFixed(2) + ' ' + words[0].data.slice(0, 30));
      }
      return found;
    })()`);
    expect(poor).toEqual([]);
  });

  test('who wants no motion gets none', async () => {
    await openConsole();
    const rules = await page.evaluate<string>(
      `[...document.styleSheets].flatMap((sheet) => [...sheet.cssRules]).filter((rule) => rule.conditionText?.includes('reduced-motion')).map((rule) => rule.cssText).join()`,
    );
    expect(rules).toContain('animation: auto ease 0s 1 normal none running none');
  });
});
