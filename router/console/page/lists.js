/**
 * Who was not served, and how did single requests go?
 *
 * The edge's own last refusals and traces, newest first, with the reasons in words.
 */
import { h } from './draw.js';
import { clock, DECISIONS, ms, passedOver, RUNGS, refusal } from './words.js';

/** @typedef {import('../console-state.ts').TracesAnswer['traces'][number]} TraceLine */
/** @typedef {import('../console-state.ts').RefusalsAnswer} RefusalsAnswer */

const REFUSALS_SHOWN = 40;
const TRACES_SHOWN = 60;

/** What to do where the lists stay empty. @param {string} what */
function off(what) {
  return h(
    'p',
    { class: 'none' },
    `Telemetry is off at this edge, so no ${what} is remembered. It begins with `,
    h('span', { class: 'mono' }, 'DOMICILE_TELEMETRY=on'),
    ' in the environment of the edge.',
  );
}

/**
 * @param {RefusalsAnswer} answer
 */
export function refusals({ telemetry, refusals: all }) {
  if (telemetry === 'off') return off('refusal');
  if (all.length === 0)
    return h('p', { class: 'none' }, 'This edge has refused nothing since it keeps count.');
  return h(
    'ol',
    { class: 'refusals' },
    all
      .slice(0, REFUSALS_SHOWN)
      .map((one) =>
        h(
          'li',
          { 'data-key': `${one.atMs} ${one.traceId ?? ''} ${one.because}` },
          h('time', { class: 'mono dim' }, clock(one.atMs)),
          h(
            'div',
            {},
            h('strong', {}, `${refusal(one.because)}`),
            h(
              'p',
              { class: 'dim' },
              h('span', { class: 'mono' }, `${one.method} ${one.route ?? 'no route'}`),
              ` · ${one.status}`,
              one.home !== undefined && ` · home ${one.home}`,
              ' · ',
              h('span', { class: 'mono' }, one.because),
            ),
            one.passedOver.length > 0 &&
              h(
                'p',
                { class: 'passed' },
                `Passed over: ${one.passedOver.map(passedOver).join('; ')}.`,
              ),
          ),
          one.traceId !== undefined &&
            opener(one.traceId, 'trace', `Trace of the refusal at ${clock(one.atMs)}`),
        ),
      ),
  );
}

/**
 * @param {string} traceId
 * @param {string} says
 * @param {string} label
 */
function opener(traceId, says, label) {
  return h('a', { class: 'open', href: `#trace/${traceId}`, 'aria-label': label }, says);
}

/**
 * @typedef {{ decision: string, text: string, atLeastMs: number }} Wanted
 */

/**
 * @param {readonly TraceLine[]} all
 * @param {Wanted} wanted
 */
export function chosen(all, { decision, text, atLeastMs }) {
  const sought = text.trim().toLowerCase();
  return all.filter(
    (one) =>
      (decision === '' || one.decision === decision) &&
      one.durationMs >= atLeastMs &&
      (sought === '' ||
        [
          one.method,
          one.route,
          one.to,
          one.rung,
          one.subject,
          one.traceId,
          String(one.status),
        ].some((field) => field?.toLowerCase().includes(sought))),
  );
}

/**
 * @param {readonly TraceLine[]} all
 * @param {string} [caption]
 * @param {'on' | 'off'} [telemetry]
 */
export function traces(all, caption = 'Traces, newest first', telemetry = 'on') {
  if (telemetry === 'off') return off('request');
  if (all.length === 0) return h('p', { class: 'none' }, 'No trace fits.');
  const shown = all.slice(0, TRACES_SHOWN);
  return h(
    'table',
    { class: 'traces' },
    h('caption', { class: 'only-read' }, caption),
    h(
      'thead',
      {},
      h(
        'tr',
        {},
        ['at', 'request', 'decision', 'status', 'took'].map((name) =>
          h('th', { scope: 'col' }, name),
        ),
      ),
    ),
    h(
      'tbody',
      {},
      shown.map((one) =>
        h(
          'tr',
          { 'data-key': one.traceId },
          h('td', { class: 'mono dim' }, clock(one.startedAtMs)),
          h(
            'th',
            { scope: 'row' },
            h(
              'a',
              { class: 'mono', href: `#trace/${one.traceId}` },
              `${one.method} ${one.route ?? 'no route'}`,
            ),
          ),
          h('td', {}, decision(one)),
          h('td', { class: one.status >= 500 ? 'mono bad' : 'mono' }, one.status),
          h(
            'td',
            { class: 'took' },
            h('span', { class: 'mono' }, ms(one.durationMs)),
            took(one.durationMs),
          ),
        ),
      ),
    ),
  );
}

/** @param {TraceLine} line */
function decision({ decision: kind, to, rung }) {
  if (kind === null) return '–';
  const words = [DECISIONS[kind] ?? kind];
  if (to !== null) words.push(`to ${to}`);
  return [
    h('span', { class: `swatch k-${kind}` }),
    words.join(' '),
    rung !== null && h('span', { class: 'dim' }, ` ${RUNGS[rung] ?? rung}`),
  ];
}

/**
 * By powers of ten, from half a millisecond to ten seconds: what is slow does not hide the others.
 * @param {number} durationMs
 */
function took(durationMs) {
  const part = Math.log(Math.max(1, durationMs / 0.5)) / Math.log(20_000);
  return h(
    'svg',
    { class: 'took-bar', viewBox: '0 0 60 6', width: 60, height: 6, 'aria-hidden': 'true' },
    h('path', { class: 'grid', d: 'M0 3H60' }),
    h('rect', { x: 0, y: 0, width: Math.min(60, Math.max(1, part * 60)), height: 6, rx: 1 }),
  );
}
