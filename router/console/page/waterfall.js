/**
 * Why did this request go where it went, and where did its time go?
 *
 * Each edge's decision in sentences, then all spans under one another, each of which shows its
 * attributes when it is chosen.
 */
import { h } from './draw.js';
import { clock, counted, explained, ms } from './words.js';

/** @typedef {import('../../telemetry/telemetry.ts').RecordedTrace} RecordedTrace */
/** @typedef {import('../../telemetry/telemetry.ts').RecordedSpan} RecordedSpan */

const LANE = 1_000;

/**
 * @param {RecordedTrace} trace
 * @param {string} region of the edge that tells
 * @param {string | undefined} open the span whose attributes are shown
 */
export function waterfall({ traceId, spans }, region, open) {
  const [first] = spans;
  if (first === undefined) return h('p', {}, 'This trace has no span here.');
  const from = Math.min(...spans.map(({ startedAtMs }) => startedAtMs));
  const to = Math.max(...spans.map(({ startedAtMs, durationMs }) => startedAtMs + durationMs));
  const long = Math.max(0.001, to - from);
  const sentences = spans
    .filter(({ attributes }) => attributes['domicile.decision'] !== undefined)
    .flatMap(({ attributes }) =>
      explained(attributes, String(attributes['domicile.region'] ?? region)),
    );
  return [
    h(
      'p',
      { class: 'dim' },
      `${clock(first.startedAtMs)} · ${ms(long)} · ${counted(spans.length, 'span')} · `,
      h('span', { class: 'mono wrap' }, traceId),
    ),
    h(
      'ul',
      { class: 'because' },
      sentences.map((sentence) => h('li', {}, sentence)),
    ),
    h(
      'ol',
      { class: 'spans' },
      inOrder(spans).map(({ span, depth }) => line(span, depth, from, long, open ?? first.spanId)),
    ),
  ];
}

/**
 * Children under their parents.
 * @param {readonly RecordedSpan[]} spans
 * @returns {{ span: RecordedSpan, depth: number }[]}
 */
function inOrder(spans) {
  const ids = new Set(spans.map(({ spanId }) => spanId));
  /** @type {{ span: RecordedSpan, depth: number }[]} */
  const ordered = [];
  const seen = new Set();
  const add = (/** @type {RecordedSpan} */ span, /** @type {number} */ depth) => {
    if (seen.has(span.spanId)) return;
    seen.add(span.spanId);
    ordered.push({ span, depth });
    for (const child of spans) if (child.parentSpanId === span.spanId) add(child, depth + 1);
  };
  for (const span of spans)
    if (span.parentSpanId === undefined || !ids.has(span.parentSpanId)) add(span, 0);
  for (const span of spans) add(span, 0);
  return ordered;
}

/**
 * @param {RecordedSpan} span
 * @param {number} depth
 * @param {number} from
 * @param {number} long
 * @param {string} open
 */
function line(span, depth, from, long, open) {
  const isOpen = span.spanId === open;
  const x = ((span.startedAtMs - from) / long) * LANE;
  const width = Math.max(4, (span.durationMs / long) * LANE);
  return h(
    'li',
    { 'data-key': span.spanId },
    h(
      'button',
      {
        type: 'button',
        class: span.error ? 'span error' : 'span',
        'data-do': 'span',
        'data-span': span.spanId,
        'aria-expanded': isOpen ? 'true' : 'false',
      },
      h('span', { class: `name depth-${Math.min(depth, 6)}` }, span.error && '✕ ', span.name),
      h(
        'svg',
        {
          class: 'lane',
          viewBox: `0 0 ${LANE} 10`,
          preserveAspectRatio: 'none',
          height: 10,
          'aria-hidden': 'true',
        },
        h('path', { class: 'lane-line', d: `M0 5H${LANE}` }),
        h('rect', {
          class: `span-bar s-${span.kind}${span.error ? ' error' : ''}`,
          x: Math.min(x, LANE - 4),
          y: 0,
          width,
          height: 10,
        }),
      ),
      h('span', { class: 'mono took' }, ms(span.durationMs)),
    ),
    isOpen && attributes(span),
  );
}

/** @param {RecordedSpan} span */
function attributes({ attributes: told }) {
  const names = Object.keys(told)
    .filter((name) => told[name] !== undefined)
    .sort((a, b) => rank(a) - rank(b) || a.localeCompare(b));
  if (names.length === 0) return h('p', { class: 'dim none' }, 'Nothing else is told of it.');
  return h(
    'dl',
    { class: 'attributes' },
    names.map((name) => {
      const value = told[name];
      return h(
        'div',
        { 'data-key': name },
        h('dt', { class: 'mono' }, name),
        h('dd', { class: 'mono' }, Array.isArray(value) ? value.join(', ') : String(value)),
      );
    }),
  );
}

/** @param {string} name */
function rank(name) {
  return name.startsWith('domicile.') ? 0 : 1;
}
