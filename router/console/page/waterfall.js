/**
 * Why did this request go where it went, and where did its time go?
 *
 * Each edge's decision in sentences, then all spans under one another, each of which shows its
 * attributes when it is chosen.
 */
import { h } from './draw.js';
import { sign } from './signs.js';
import { clock, counted, explained, list, ms } from './words.js';

/** @typedef {import('../console-state.ts').TraceAnswer} TraceAnswer */
/** @typedef {import('../console-state.ts').PartView} PartView */
/** @typedef {import('../console-state.ts').SpanView} SpanView */

const LANE = 1_000;
/** What clocks that are held together by the network's time differ by now and then. */
const CLOCKS_DIFFER_MS = 5;

/**
 * @param {TraceAnswer} answer
 * @param {string | undefined} open the span whose attributes are shown
 */
export function waterfall({ trace: { traceId, spans }, parts }, open) {
  const first = inOrder(spans)[0]?.span;
  if (first === undefined) return h('p', {}, 'This trace has no span here.');
  const from = Math.min(...spans.map(({ startedAtMs }) => startedAtMs));
  const to = Math.max(...spans.map(({ startedAtMs, durationMs }) => startedAtMs + durationMs));
  const long = Math.max(0.001, to - from);
  const sentences = spans
    .filter(({ attributes }) => attributes['domicile.decision'] !== undefined)
    .flatMap(({ attributes, region }) => explained(attributes, region));
  const regions = [...new Set(spans.map(({ region }) => region))];
  return [
    h(
      'p',
      { class: 'dim' },
      `${clock(first.startedAtMs)} · ${ms(long)} · ${counted(spans.length, 'span')} of ${list(regions)} · `,
      h('span', { class: 'mono wrap' }, traceId),
    ),
    parts.map(partSays),
    h(
      'ul',
      { class: 'because' },
      sentences.map((sentence) => h('li', {}, sentence)),
    ),
    h(
      'ol',
      { class: 'spans' },
      inOrder(spans).map(({ span, depth }, index, all) =>
        line(
          span,
          depth,
          { from, long },
          open ?? first.spanId,
          all[index - 1]?.span.region !== span.region,
        ),
      ),
    ),
  ];
}

/** @param {PartView} part */
function partSays(part) {
  const says = partWords(part);
  return (
    says !== undefined &&
    h(
      'p',
      { 'data-key': `part ${part.region}`, class: 'with-sign part' },
      sign(says.grave ? 'warn' : 'note'),
      h('span', {}, says.words),
    )
  );
}

/** @param {PartView} part */
function partWords(part) {
  const { region } = part;
  switch (part.kind) {
    case 'silent':
      return part.isPart
        ? { grave: true, words: `${region} did not answer: its part is missing (${part.why}).` }
        : {
            grave: false,
            words: `${region} did not answer: if it had a part in this, it is missing (${part.why}).`,
          };
    case 'off':
      return { grave: true, words: `Telemetry is off in ${region}: its part was not recorded.` };
    case 'forgotten':
      return {
        grave: true,
        words: `${region} has no part of this: it keeps none any more, or the request never came there.`,
      };
    case 'told':
      return part.movedMs < CLOCKS_DIFFER_MS
        ? undefined
        : {
            grave: false,
            words: `The clock of ${region} differs by ${ms(part.movedMs)} or more: its spans are drawn within the hop that led there.`,
          };
  }
}

/**
 * Children under their parents.
 * @param {readonly SpanView[]} spans
 * @returns {{ span: SpanView, depth: number }[]}
 */
function inOrder(spans) {
  const ids = new Set(spans.map(({ spanId }) => spanId));
  /** @type {{ span: SpanView, depth: number }[]} */
  const ordered = [];
  const seen = new Set();
  const add = (/** @type {SpanView} */ span, /** @type {number} */ depth) => {
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
 * @param {SpanView} span
 * @param {number} depth
 * @param {{ from: number, long: number }} time
 * @param {string} open
 * @param {boolean} isElsewhere than the one above it
 */
function line(span, depth, { from, long }, open, isElsewhere) {
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
      h(
        'span',
        { class: `name depth-${Math.min(depth, 6)}` },
        span.error && '✕ ',
        isElsewhere && h('span', { class: 'tag' }, span.region),
        isElsewhere && ' ',
        span.name,
      ),
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

/** @param {SpanView} span */
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
