/**
 * What does each edge do?
 *
 * Two minutes of decisions in bars, a second each, over the faults that somebody announced; beside
 * them how long answers took and on which rung of the freshness ladder reads were placed. All edges
 * have the same scales, so that they can be compared by eye.
 */
import { h } from './draw.js';
import { sign } from './signs.js';
import { takeovers } from './summary.js';
import { clock, counted, DECISIONS, longTime, many, ms, RUNGS, refusal } from './words.js';

/** @typedef {import('../console-state.ts').ConsoleState} ConsoleState */
/** @typedef {import('../console-state.ts').RegionView} RegionView */
/** @typedef {import('../console-state.ts').Traffic} Traffic */

const HEIGHT = 118;
/** For the scale, left of the bars. */
const GUTTER = 30;
/** From the bottom up: what went wrong lies on top, where the eye is. */
const KINDS = ['serve', 'answer', 'forward', 'redirect', 'refuse'];
const RUNG_ORDER = ['replica', 'replica_after_wait', 'primary', 'mirror'];
const LATENCY = { fromMs: 0.5, toMs: 10_000, ticksMs: [1, 10, 100, 1_000, 10_000] };
const PERCENTILES = /** @type {const} */ ([
  ['p50', 'p50Ms'],
  ['p95', 'p95Ms'],
  ['p99', 'p99Ms'],
]);

/**
 * @param {ConsoleState} state
 * @param {{ chart: number, strip: number }} widths
 * @param {number | undefined} pointed seconds before now
 */
export function traffic(state, widths, pointed) {
  const seconds = Math.max(1, ...state.regions.map(({ edge }) => trafficOf(edge)?.seconds ?? 1));
  const most = niceMost(Math.max(1, ...state.regions.map(({ edge }) => peak(trafficOf(edge)))));
  return state.regions.map((region) => {
    const did = trafficOf(region.edge);
    return h(
      'article',
      { class: 'traffic-row', 'data-key': region.id, 'aria-labelledby': `traffic-${region.id}` },
      h(
        'div',
        { class: 'about' },
        h('h3', { id: `traffic-${region.id}` }, region.id),
        did === undefined
          ? h('p', { class: 'bad' }, sign('bad'), 'silent')
          : now(did, pointed, state.atMs),
      ),
      chart(state, region, did, { seconds, most, width: widths.chart, pointed }),
      h(
        'div',
        { class: 'beside' },
        did === undefined ? null : [latency(did, widths.strip), ladder(did, widths.strip)],
      ),
    );
  });
}

/** @param {RegionView['edge']} edge */
function trafficOf(edge) {
  return edge.kind === 'silent' ? undefined : edge.traffic;
}

/** @param {Traffic | undefined} did */
function peak(did) {
  if (did === undefined) return 0;
  const sums = Array.from({ length: did.seconds }, (_, ago) => sumAt(did, ago + 1));
  return Math.max(0, ...sums);
}

/**
 * @param {Traffic} did
 * @param {number} ago
 */
function sumAt(did, ago) {
  return Object.values(did.decisions).reduce((sum, series) => sum + (series.at(-ago) ?? 0), 0);
}

/** @param {number} value */
function niceMost(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  const step = [1, 2, 5, 10].find((one) => one * power >= value) ?? 10;
  return Math.max(5, step * power);
}

/**
 * @param {Traffic} did
 * @param {number | undefined} pointed
 * @param {number} atMs
 */
function now(did, pointed, atMs) {
  // The last second is still being counted.
  const ago = pointed ?? 2;
  const parts = KINDS.map((kind) => ({ kind, count: did.decisions[kind]?.at(-ago) ?? 0 })).filter(
    ({ count }) => count > 0,
  );
  return [
    h(
      'p',
      { class: 'rate' },
      h('strong', {}, many(sumAt(did, ago))),
      pointed === undefined ? ' a second' : ` at ${clock(atMs - ago * 1_000)}`,
    ),
    h(
      'ul',
      { class: 'split' },
      parts.map(({ kind, count }) =>
        h(
          'li',
          { 'data-key': kind },
          h('span', { class: `swatch k-${kind}` }),
          `${many(count)} ${DECISIONS[kind]}`,
        ),
      ),
    ),
    refusals(did),
  ];
}

/** @param {Traffic} did */
function refusals({ refusals: counts }) {
  const most = Object.entries(counts)
    .filter(([, count]) => count > 0)
    .toSorted((a, b) => b[1] - a[1]);
  if (most.length === 0) return null;
  return h(
    'ul',
    { class: 'turned-away' },
    most
      .slice(0, 3)
      .map(([because, count]) =>
        h(
          'li',
          { 'data-key': because, title: because },
          h('strong', {}, many(count)),
          ` ${refusal(because)}`,
        ),
      ),
  );
}

/**
 * @param {ConsoleState} state
 * @param {RegionView} region
 * @param {Traffic | undefined} did
 * @param {{ seconds: number, most: number, width: number, pointed: number | undefined }} scale
 */
function chart(state, region, did, { seconds, most, width, pointed }) {
  const inner = width - GUTTER;
  const step = inner / seconds;
  const x = (/** @type {number} */ atMs) => width - ((state.atMs - atMs) / 1_000) * step;
  const y = (/** @type {number} */ count) => HEIGHT - (count / most) * (HEIGHT - 18);
  const faults = faultsIn(state, region, x, width);
  /** @type {import('./draw.js').Child[]} */
  const parts = [faults.map(shade)];
  for (const count of [0, most / 2, most])
    parts.push(
      h('path', { class: count === 0 ? 'ground' : 'grid', d: `M${GUTTER} ${y(count)}H${width}` }),
      h(
        'text',
        { class: 'tick', x: GUTTER - 6, y: y(count) + 3.5, 'text-anchor': 'end' },
        many(count),
      ),
    );
  if (did !== undefined) parts.push(bars(did, seconds, step, y));
  // Who takes over is news; what was done to the system keeps out of its way.
  const line = lines();
  const flagged = flags(state, region, x, width, line);
  parts.push(
    faults.map((fault) => roof(fault, line)),
    flagged,
  );
  if (pointed !== undefined) {
    const at = width - (pointed - 0.5) * step;
    parts.push(h('path', { class: 'pointed', d: `M${at} 0V${HEIGHT}` }));
  }
  const total =
    did === undefined
      ? 0
      : Object.values(did.decisions)
          .flat()
          .reduce((sum, one) => sum + one, 0);
  return h(
    'div',
    { class: 'plot' },
    h(
      'svg',
      {
        class: did === undefined ? 'bars silent' : 'bars',
        viewBox: `0 0 ${width} ${HEIGHT}`,
        height: HEIGHT,
        role: 'img',
        tabindex: 0,
        'data-do': 'point',
        'data-seconds': seconds,
        'aria-label':
          did === undefined
            ? `Decisions of ${region.id} are not known: its edge is silent.`
            : `Decisions of ${region.id} in ${longTime(seconds * 1_000)}: ${counted(total, 'request')}. Arrow keys read single seconds.`,
      },
      parts,
    ),
    region === state.regions.at(-1) && axis(state, seconds),
  );
}

/**
 * @param {Traffic} did
 * @param {number} seconds
 * @param {number} step
 * @param {(count: number) => number} y
 */
function bars(did, seconds, step, y) {
  const known = [...KINDS, ...Object.keys(did.decisions).filter((kind) => !KINDS.includes(kind))];
  const gap = step > 4 ? 1 : 0;
  const below = new Array(seconds).fill(0);
  return known.map((kind) => {
    const series = did.decisions[kind] ?? [];
    const offset = seconds - series.length;
    let d = '';
    for (const [index, count] of series.entries()) {
      if (count <= 0) continue;
      const second = offset + index;
      const from = below[second];
      below[second] = from + count;
      const top = y(from + count);
      d += `M${(GUTTER + second * step).toFixed(1)} ${y(from).toFixed(1)}V${top.toFixed(1)}h${(step - gap).toFixed(1)}V${y(from).toFixed(1)}z`;
    }
    return h('path', { class: `bar k-${kind}`, 'data-key': kind, d });
  });
}

/** Where words of this chart may stand, one line below the other. */
const LINES = [11, 24, 37];
/** Of one letter, roughly. */
const LETTER = 6.2;

/** @typedef {(from: number, words: string) => number | undefined} Line */

/**
 * Finds a line for words that begin at a place, where no others are; undefined where all are taken.
 * @returns {Line}
 */
function lines() {
  /** @type {{ from: number, to: number }[][]} */
  const taken = LINES.map(() => []);
  return (from, words) => {
    const to = from + words.length * LETTER;
    const free = taken.findIndex((line) => line.every((one) => to < one.from || from > one.to));
    taken[free]?.push({ from, to });
    return LINES[free];
  };
}

/** @typedef {{ key: string, what: string, from: number, to: number, lasts: boolean, mine: boolean }} Fault */

/**
 * What was done to the system in these two minutes, in pixels.
 * @param {ConsoleState} state
 * @param {RegionView} region
 * @param {(atMs: number) => number} x
 * @param {number} width
 * @returns {Fault[]}
 */
function faultsIn({ experiments }, { id: here, nodes }, x, width) {
  const mine = new Set([here, ...nodes.map(({ name }) => name)]);
  return experiments
    .flatMap(({ id, faults }) =>
      faults.map(({ what, where, fromMs, toMs }, index) => ({
        key: `${id} ${index}`,
        what: where.length === 0 ? what : `${what}, ${where.join(', ')}`,
        from: Math.max(GUTTER, x(fromMs)),
        to: Math.min(width, toMs === null ? width : x(toMs)),
        lasts: toMs === null,
        // A link is told as its two ends.
        mine:
          where.length === 0 ||
          where.some((one) => one.split(/[^\w-]+/).some((end) => mine.has(end))),
      })),
    )
    .filter(({ from, to }) => to - from > 0.5);
}

/** @param {Fault} fault */
function shade({ key, from, to, mine }) {
  return h('rect', {
    class: mine ? 'fault' : 'fault elsewhere',
    'data-key': `shade ${key}`,
    x: from,
    y: 0,
    width: to - from,
    height: HEIGHT,
  });
}

/**
 * @param {Fault} fault
 * @param {Line} line
 */
function roof({ key, what, from, to, lasts, mine }, line) {
  const y = mine && to - from > what.length * LETTER ? line(from + 5, what) : undefined;
  return h(
    'g',
    { class: mine ? 'fault-lines' : 'fault-lines elsewhere', 'data-key': `roof ${key}` },
    h('title', {}, what),
    h('path', {
      class: 'fault-edge',
      d: `M${from} 0V${HEIGHT}${lasts ? '' : `M${to} 0V${HEIGHT}`}`,
    }),
    h('path', { class: 'fault-roof', d: `M${from} 1.5H${to}` }),
    y !== undefined && h('text', { class: 'halo', x: from + 5, y: y + 3 }, what),
  );
}

/**
 * @param {ConsoleState} state
 * @param {RegionView} region
 * @param {(atMs: number) => number} x
 * @param {number} width
 * @param {Line} line
 */
function flags(state, { id }, x, width, line) {
  return takeovers(state).map(({ region: of, at, primary, version }) => {
    const where = x(Date.parse(at));
    if (of !== id || !(where > GUTTER && where < width)) return null;
    const left = where > width - 120;
    const words = `${primary.slice(0, 24)} takes over`;
    const y = line(left ? where - 11 - words.length * LETTER : where, ` ${words} `);
    return h(
      'g',
      { class: 'takeover', 'data-key': `failover ${version}` },
      h('path', { d: `M${where} 0V${HEIGHT}` }),
      h('path', {
        class: 'flag',
        d: `M${where} 0h${left ? -7 : 7}l${left ? 3 : -3} 4.5l${left ? -3 : 3} 4.5h${left ? 7 : -7}z`,
      }),
      y !== undefined &&
        h(
          'text',
          {
            class: 'halo',
            x: where + (left ? -11 : 11),
            y: y - 1,
            'text-anchor': left ? 'end' : 'start',
          },
          words,
        ),
    );
  });
}

/**
 * @param {Traffic} did
 * @param {number} width
 */
function latency({ latency: seen }, width) {
  if (seen === null)
    return h('p', { class: 'dim none', 'data-key': 'latency' }, 'No request in the last minute.');
  const inner = width - 12;
  const x = (/** @type {number} */ value) => {
    const at = Math.min(LATENCY.toMs, Math.max(LATENCY.fromMs, value));
    return 6 + (Math.log(at / LATENCY.fromMs) / Math.log(LATENCY.toMs / LATENCY.fromMs)) * inner;
  };
  const [a, b, c] = [x(seen.p50Ms), x(seen.p95Ms), x(seen.p99Ms)];
  return h(
    'div',
    { class: 'latency', 'data-key': 'latency' },
    h(
      'svg',
      { viewBox: `0 0 ${width} 30`, height: 30, 'aria-hidden': 'true' },
      LATENCY.ticksMs.map((tick) => [
        h('path', { class: 'grid', d: `M${x(tick)} 0V18` }),
        h(
          'text',
          { class: 'tick', x: x(tick), y: 29, 'text-anchor': tick === 10_000 ? 'end' : 'middle' },
          tick < 1_000 ? tick : `${tick / 1_000}\u202fs`,
        ),
      ]),
      h('path', { class: 'reach', d: `M${a} 9H${c}` }),
      h('circle', { class: 'p50', cx: a, cy: 9, r: 4 }),
      h('path', { class: 'p95', d: `M${b} 4.5l4.5 4.5l-4.5 4.5l-4.5 -4.5z` }),
      h('path', { class: 'p99', d: `M${c} 4v10` }),
    ),
    h(
      'p',
      { class: 'percentiles' },
      PERCENTILES.map(([name, field]) =>
        h('span', { 'data-key': name }, h('span', { class: 'dim' }, `${name} `), ms(seen[field])),
      ),
    ),
  );
}

/**
 * @param {Traffic} did
 * @param {number} width
 */
function ladder({ rungs }, width) {
  const others = Object.keys(rungs).filter((rung) => !RUNG_ORDER.includes(rung));
  const counts = [...RUNG_ORDER, ...others]
    .map((rung) => ({ rung, count: rungs[rung] ?? 0 }))
    .filter(({ count }) => count > 0);
  const sum = counts.reduce((all, { count }) => all + count, 0);
  if (sum === 0) return null;
  let from = 0;
  return h(
    'div',
    { class: 'ladder', 'data-key': 'ladder' },
    h(
      'svg',
      { viewBox: `0 0 ${width} 10`, height: 10, 'aria-hidden': 'true' },
      counts.map(({ rung, count }) => {
        const part = (count / sum) * width;
        const made = h('rect', {
          class: `r-${rung}`,
          'data-key': rung,
          x: from,
          y: 0,
          width: Math.max(1, part - 1),
          height: 10,
        });
        from += part;
        return made;
      }),
    ),
    h(
      'ul',
      { class: 'split' },
      counts.map(({ rung, count }) =>
        h(
          'li',
          { 'data-key': rung },
          h('span', { class: `swatch r-${rung}` }),
          `${RUNGS[rung] ?? rung} ${percent(count / sum)}`,
        ),
      ),
    ),
  );
}

/** @param {number} part */
function percent(part) {
  if (part < 0.01) return 'under 1\u202f%';
  if (part > 0.99 && part < 1) return 'over 99\u202f%';
  return `${Math.round(part * 100)}\u202f%`;
}

/**
 * @param {ConsoleState} state
 * @param {number} seconds
 */
function axis(state, seconds) {
  return h(
    'p',
    { class: 'axis dim', 'aria-hidden': 'true' },
    h('span', {}, clock(state.atMs - seconds * 1_000)),
    h('span', {}, clock(state.atMs - seconds * 500)),
    h('span', {}, 'now'),
  );
}

/** @param {ConsoleState} state */
export function legend(state) {
  const used = new Set(
    state.regions.flatMap(({ edge }) => Object.keys(trafficOf(edge)?.decisions ?? {})),
  );
  const running = state.experiments.some(({ faults }) =>
    faults.some(({ toMs }) => toMs === null || toMs > state.atMs - 120_000),
  );
  return [
    KINDS.filter((kind) => used.has(kind)).map((kind) =>
      h('li', { 'data-key': kind }, h('span', { class: `swatch k-${kind}` }), DECISIONS[kind]),
    ),
    running &&
      h('li', { 'data-key': 'fault' }, h('span', { class: 'swatch k-fault' }), 'a fault lasts'),
  ];
}
