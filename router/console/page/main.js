/**
 * What does the page do, and when?
 *
 * Draws each state that comes, asks for refusals and traces while they are looked at, and does what
 * the reader wants. Everything that can be done is a button, a link or a field.
 */
import { h, show } from './draw.js';
import { experiments, failovers, policy } from './history.js';
import { chosen, refusals, traces } from './lists.js';
import { follow } from './live.js';
import { map, mapInWords } from './map.js';
import { regions } from './regions.js';
import { sign } from './signs.js';
import { figures, headline, notices } from './summary.js';
import { chosenTheme, nextTheme } from './theme.js';
import { legend, traffic } from './traffic.js';
import { waterfall } from './waterfall.js';
import { clock, list, longTime } from './words.js';

/** @typedef {import('../console-state.ts').ConsoleState} ConsoleState */
/** @typedef {import('../console-state.ts').TracesAnswer} TracesAnswer */
/** @typedef {import('../console-state.ts').TraceAnswer} TraceAnswer */
/** @typedef {import('../console-state.ts').RefusalsAnswer} RefusalsAnswer */
/** @typedef {import('../console-state.ts').SubjectAnswer} SubjectAnswer */

/** More of them would push away what they are about. */
const NOTICES_SHOWN = 7;
/** How often lists are asked for while they are in the window. */
const LISTS_EVERY_MS = 2_000;
const HEADER = { 'domicile-console': '1' };

/** @type {ConsoleState | undefined} */
let state;
/** @type {RefusalsAnswer | undefined} */
let lastRefusals;
/** @type {TracesAnswer | undefined} */
let lastTraces;
/** @type {TraceAnswer | undefined} */
let trace;
/** @type {string | undefined} */
let openSpan;
/** Seconds before now, which the reader points at. @type {number | undefined} */
let pointed;
let held = false;
/** What is wrong was said aloud once. @type {ReadonlySet<string> | undefined} */
let saidKeys;
const looked = new Set();

const main = one('main', HTMLElement);
const dialog = one('trace', HTMLDialogElement);
const form = one('ask', HTMLFormElement);

/**
 * @template {HTMLElement} T
 * @param {string} id
 * @param {new () => T} kind
 * @returns {T}
 */
function one(id, kind) {
  const found = document.getElementById(id);
  if (!(found instanceof kind)) throw new Error(`no ${kind.name} is called ${id}`);
  return found;
}

let isDue = false;

/** Once for all states that came meanwhile: a busy machine may bring several at a time. */
function drawSoon() {
  if (isDue) return;
  isDue = true;
  setTimeout(() => {
    isDue = false;
    draw();
    if (trace !== undefined) drawTrace();
  });
}

function draw() {
  if (state === undefined) return;
  const found = notices(state);
  const { severity, says } = headline(found, state.regions.length);
  document.title = `${severity === 'well' ? '' : '● '}${says} · ${state.edge.region} · Domicile`;
  document.documentElement.dataset.now = severity;
  show('where', state.edge.region);
  show(
    'version',
    `version ${state.edge.version}, up for ${longTime(state.atMs - state.edge.startedAtMs)}`,
  );
  show('who', `${state.operator.name}, ${state.operator.role}`);
  show('headline', sign(severity), h('span', {}, says));
  const shown = found.slice(0, NOTICES_SHOWN);
  show(
    'notices',
    shown.map(({ key, severity: grave, where, says: what }) =>
      h(
        'li',
        { 'data-key': key, class: grave },
        sign(grave),
        h('p', {}, h('strong', {}, where), ' ', what),
      ),
    ),
    found.length > shown.length &&
      h(
        'li',
        { 'data-key': 'more', class: 'dim' },
        `and ${found.length - shown.length} more, shown below`,
      ),
  );
  show(
    'figures',
    figures(state).map(({ name, figure, about, grave }) =>
      h(
        'div',
        { 'data-key': name, class: grave ? 'grave' : null },
        h('dt', {}, name),
        h('dd', {}, h('strong', {}, figure), h('span', { class: 'dim' }, about)),
      ),
    ),
  );
  aloud(found);
  show('map', map(state, widthOf('map')));
  show('map-says', mapInWords(state));
  show('regions', regions(state));
  drawTraffic();
  show('failovers', failovers(state));
  show('policy', policy(state));
  show('experiments', experiments(state));
  one('subject', HTMLElement).hidden = state.operator.role !== 'operator';
  one('to-subject', HTMLElement).hidden = state.operator.role !== 'operator';
  one('subject-viewer', HTMLElement).hidden = state.operator.role === 'operator';
}

function drawTraffic() {
  if (state === undefined) return;
  show('legend', legend(state));
  const plot = document.querySelector('#traffic .plot');
  const beside = document.querySelector('#traffic .latency');
  const widths = {
    chart: Math.max(200, plot?.clientWidth ?? 600),
    strip: Math.max(160, beside?.clientWidth ?? 240),
  };
  show('traffic', traffic(state, widths, pointed));
  // The first drawing tells how much room there is.
  if (plot === null)
    show(
      'traffic',
      traffic(
        state,
        { chart: widthOf('traffic', '.plot'), strip: widthOf('traffic', '.latency') },
        pointed,
      ),
    );
}

/**
 * @param {string} id
 * @param {string} [inside]
 */
function widthOf(id, inside) {
  const there = one(id, HTMLElement);
  const element = inside === undefined ? there : (there.querySelector(inside) ?? there);
  return Math.max(200, element.clientWidth);
}

/**
 * Only what is new, and nothing at the first look: a voice that never stops is switched off.
 * @param {readonly import('./summary.js').Notice[]} found
 */
function aloud(found) {
  const keys = new Set(found.map(({ key }) => key));
  const fresh =
    saidKeys === undefined
      ? []
      : found.filter(({ key, severity }) => severity !== 'note' && !saidKeys?.has(key));
  const gone = saidKeys !== undefined && saidKeys.size > 0 && keys.size === 0;
  if (fresh.length > 0)
    show('aloud', list(fresh.slice(0, 3).map(({ where, says }) => `${where}: ${says}`)));
  else if (gone) show('aloud', 'All is well again.');
  saidKeys = keys;
}

function drawLists() {
  if (lastRefusals !== undefined) show('refusals', refusals(lastRefusals));
  if (lastTraces === undefined) return;
  const { traces: all, telemetry } = lastTraces;
  const fits = chosen(all, {
    decision: one('by-decision', HTMLSelectElement).value,
    text: one('by-text', HTMLInputElement).value,
    atLeastMs: Number(one('by-time', HTMLSelectElement).value),
  });
  show('traces', traces(fits, undefined, telemetry));
  show('traces-count', telemetry === 'off' ? '' : `${fits.length} of ${all.length}`);
}

/**
 * @template T
 * @param {string} path
 * @param {RequestInit} [init]
 * @returns {Promise<T>}
 */
async function ask(path, init) {
  const answer = await fetch(path, init);
  if (answer.status === 401) leave();
  const body = await answer.json().catch(() => ({}));
  if (answer.ok) return body;
  const words = [body.title, body.detail].filter((word) => typeof word === 'string');
  throw new Error(words.length > 0 ? words.join('. ') : `The edge answered with ${answer.status}.`);
}

function leave() {
  location.replace('/console');
}

async function fetchLists() {
  if (held || document.hidden) return;
  try {
    if (looked.has('at-refusals'))
      lastRefusals = /** @type {RefusalsAnswer} */ (await ask('/console/api/refusals'));
    if (looked.has('at-traces'))
      lastTraces = /** @type {TracesAnswer} */ (await ask('/console/api/traces'));
    if (!held) drawLists();
    show('lists-say');
  } catch (error) {
    show(
      'lists-say',
      error instanceof TypeError
        ? 'The edge does not answer.'
        : String(error instanceof Error ? error.message : error),
    );
  }
}

async function openTrace(/** @type {string} */ traceId) {
  trace = undefined;
  openSpan = undefined;
  show('trace-title', 'Trace');
  show('trace-body', h('p', { class: 'dim' }, 'Asking this edge and those of the other regions …'));
  if (!dialog.open) dialog.showModal();
  try {
    trace = /** @type {TraceAnswer} */ (
      await ask(`/console/api/traces/${encodeURIComponent(traceId)}`)
    );
    drawTrace();
  } catch (error) {
    show(
      'trace-body',
      h(
        'p',
        { class: 'with-sign' },
        sign('warn'),
        h('span', {}, error instanceof Error ? error.message : String(error)),
      ),
    );
  }
}

function drawTrace() {
  if (trace === undefined) return;
  show('trace-title', trace.trace.spans[0]?.name ?? 'Trace');
  show('trace-body', waterfall(trace, openSpan));
}

/** The address says which trace is open, so that it can be sent to somebody, and Back closes it. */
function byAddress() {
  const traceId = /^#trace\/([0-9a-f]{1,64})$/.exec(location.hash)?.[1];
  if (traceId !== undefined) void openTrace(traceId);
  else if (dialog.open) dialog.close();
}

dialog.addEventListener('close', () => {
  if (location.hash.startsWith('#trace/')) history.pushState(null, '', '/console');
});
dialog.addEventListener('click', (event) => {
  if (event.target === dialog) dialog.close();
});
addEventListener('hashchange', byAddress);

/** @type {Readonly<Record<string, (element: HTMLElement) => void>>} */
const DEEDS = {
  theme: (button) => {
    button.textContent = themeWords(nextTheme());
  },
  hold: (button) => {
    held = !held;
    button.setAttribute('aria-pressed', String(held));
    button.textContent = held ? 'Go on' : 'Hold';
    if (!held) void fetchLists();
  },
  span: (button) => {
    const span = button.dataset.span;
    openSpan = openSpan === span ? 'none' : span;
    drawTrace();
  },
  close: () => dialog.close(),
  out: () => {
    fetch('/console/sign-out', { method: 'POST', headers: HEADER }).then(leave, leave);
  },
};

/** @param {string} theme */
function themeWords(theme) {
  return `Theme: ${theme}`;
}

document.addEventListener('click', ({ target }) => {
  const doer = target instanceof Element ? target.closest('[data-do]') : null;
  if (doer instanceof HTMLElement) DEEDS[doer.dataset.do ?? '']?.(doer);
});

for (const id of ['by-decision', 'by-text', 'by-time'])
  one(id, HTMLElement).addEventListener('input', drawLists);

main.addEventListener('pointermove', ({ target, clientX }) => {
  const chart = target instanceof Element ? target.closest('svg.bars') : null;
  point(chart === null ? undefined : secondAt(chart, clientX));
});
main.addEventListener('pointerleave', () => point(undefined));
main.addEventListener('focusout', () => point(undefined));
main.addEventListener('keydown', (event) => {
  const chart = event.target instanceof Element ? event.target.closest('svg.bars') : null;
  const by = { ArrowLeft: 1, ArrowRight: -1 }[event.key];
  if (chart === null || by === undefined) return;
  event.preventDefault();
  const seconds = Number(chart.getAttribute('data-seconds'));
  point(Math.min(seconds, Math.max(1, (pointed ?? 1) + by)));
});

/**
 * @param {Element} chart
 * @param {number} clientX
 */
function secondAt(chart, clientX) {
  const { left, width } = chart.getBoundingClientRect();
  const seconds = Number(chart.getAttribute('data-seconds'));
  return Math.min(seconds, Math.max(1, Math.ceil(((left + width - clientX) / width) * seconds)));
}

/** @param {number | undefined} ago */
function point(ago) {
  if (ago === pointed) return;
  pointed = ago;
  drawTraffic();
}

form.addEventListener('submit', async (event) => {
  event.preventDefault();
  const field = one('who-is-it', HTMLInputElement);
  if (field.value.trim() === '') return field.focus();
  show('explained', h('p', { class: 'dim' }, 'Asking the edge …'));
  try {
    const answer = /** @type {SubjectAnswer} */ (
      await ask('/console/api/subjects/explain', {
        method: 'POST',
        headers: { ...HEADER, 'content-type': 'application/json' },
        body: JSON.stringify({ subject: field.value.trim() }),
      })
    );
    show('explained', subject(answer));
  } catch (error) {
    show(
      'explained',
      h(
        'p',
        { class: 'with-sign' },
        sign('bad'),
        h('span', {}, error instanceof Error ? error.message : String(error)),
      ),
    );
  }
});

/** @param {SubjectAnswer} answer */
function subject(answer) {
  if (answer.kind === 'not-found')
    return h('p', { class: 'with-sign' }, sign('warn'), h('span', {}, answer.why));
  return [
    h(
      'p',
      {},
      h(
        'strong',
        {},
        answer.home === null ? 'Seen here, home not known' : `At home in ${answer.home}`,
      ),
      ' ',
      h('span', { class: 'mono dim wrap' }, answer.subject),
    ),
    h(
      'ul',
      { class: 'because' },
      answer.because.map((sentence) => h('li', {}, sentence)),
    ),
    h('h3', {}, 'Decided lately'),
    traces(answer.recent, 'Recent traces of this subject'),
  ];
}

/** @param {number} sinceMs */
function notLive(sinceMs) {
  show('live', sign('bad'), h('span', {}, `not live since ${clock(sinceMs)}`));
  if (state !== undefined) {
    const { says } = headline(notices(state), state.regions.length);
    show('headline', sign('warn'), h('span', {}, `At ${clock(sinceMs)}: ${says}`));
    document.title = `Not live · ${state.edge.region} · Domicile`;
  }
  show('stale', `What you see is as it was at ${clock(sinceMs)}. The edge is being asked again.`);
}

follow({
  state(now) {
    state = now;
    drawSoon();
  },
  live(live, sinceMs) {
    document.documentElement.dataset.live = live ? 'yes' : 'no';
    one('stale', HTMLElement).hidden = live;
    if (live) {
      show('live', h('span', { class: 'pulse', 'aria-hidden': 'true' }), h('span', {}, 'live'));
      show('aloud', 'Live again.');
    } else {
      notLive(sinceMs);
      show('aloud', `Not live since ${clock(sinceMs)}.`);
    }
  },
  signedOut: leave,
});

new ResizeObserver(draw).observe(one('map', HTMLElement));
const seen = new IntersectionObserver(
  (changes) => {
    for (const { target, isIntersecting } of changes) {
      if (isIntersecting) looked.add(target.id);
      else looked.delete(target.id);
    }
    void fetchLists();
  },
  { rootMargin: '200px' },
);
for (const id of ['at-refusals', 'at-traces']) seen.observe(one(id, HTMLElement));
setInterval(fetchLists, LISTS_EVERY_MS);
one('theme', HTMLElement).textContent = themeWords(chosenTheme());
byAddress();
