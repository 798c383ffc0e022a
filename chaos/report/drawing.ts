/**
 * How is a line, an area or a label drawn so that it fits a screen of any width?
 *
 * Drawings are as wide as their page allows and know their height only. Places along them are shares
 * of the width, and shapes are stretched; texts are not. A label that has room on a wide page only
 * comes in two lengths, and the style sheet shows the one that fits.
 */
import { cut, html, type Markup } from './markup.ts';

/** Shapes are drawn in so many parts of the width and of the height. */
const ACROSS = 10_000;
const DOWN = 1_000;

/** The least widths of a plot, in CSS pixels: on a telephone, and from the wide layout on. */
const NARROW_PX = 280;
const WIDE_PX = 620;
/** Of the small font of labels, on the generous side. */
const LETTER_PX = 6.4;
/** Labels nearer to each other than this overlap. */
const TICK_PX = 14;

export type Tick = { at: number; label: string };

export function percent(share: number): string {
  return `${(Math.min(1, Math.max(0, share)) * 100).toFixed(2).replace(/\.?0+$/, '')}%`;
}

/** A drawing with shapes inside, as wide as there is room. */
export function stretched(heightPx: number, shapes: readonly Markup[]): Markup {
  return html`<svg viewBox="0 0 ${ACROSS} ${DOWN}" preserveAspectRatio="none" width="100%" height="${heightPx}">${shapes}</svg>`;
}

/**
 * One shape for each layer, each upon those before it. Edges and heights are shares; each layer has a
 * value for each step between two edges.
 */
export function stackedSteps(
  edges: readonly number[],
  layers: readonly { tone: string; heights: readonly number[] }[],
): Markup[] {
  const floor = edges.slice(1).map(() => 0);
  return layers.map(({ tone, heights }) => {
    const below = [...floor];
    for (const [index, height] of heights.entries()) floor[index] = (floor[index] ?? 0) + height;
    if (heights.every((height) => height === 0)) return html``;
    const there = steps(edges, floor);
    const back = steps(edges.toReversed(), below.toReversed());
    return html`<path class="area ${tone}" d="M${there}L${back}Z"/>`;
  });
}

/** A line that holds each value for a whole step, and has gaps where there is none. */
export function lineSteps(
  edges: readonly number[],
  heights: readonly (number | undefined)[],
  tone: string,
): Markup {
  let path = '';
  let drawing = false;
  for (const [index, height] of heights.entries()) {
    if (height === undefined) {
      drawing = false;
      continue;
    }
    const [from, to] = [x(edges[index] ?? 0), x(edges[index + 1] ?? 1)];
    path += drawing ? `V${y(height)}H${to}` : `M${from} ${y(height)}H${to}`;
    drawing = true;
  }
  return html`<path class="line ${tone}" d="${path}"/>`;
}

/** Lines across, from below, each with what it stands for at its left; `at` is a share of the height. */
export function gridLines(heightPx: number, ticks: readonly Tick[]): Markup[] {
  let free = Number.POSITIVE_INFINITY;
  return ticks.map(({ at, label }) => {
    const down = Math.round((1 - at) * heightPx) + 0.5;
    const isFree = down <= free;
    if (isFree) free = down - TICK_PX;
    return html`<line class="grid" x1="0" x2="100%" y1="${down}" y2="${down}"/>${isFree ? html`<text class="tick" x="-6" y="${down + 3.5}" text-anchor="end">${label}</text>` : undefined}`;
  });
}

/**
 * A text beside a bar that reaches from one share of the width to another; `brief` says it where there
 * is no room for `words`.
 */
export function barLabel(
  words: string,
  [from, to]: readonly [number, number],
  yPx: number,
  { tone = '', brief = words }: { tone?: string; brief?: string } = {},
): Markup {
  const wide = placed(words, brief, from, to, WIDE_PX);
  const narrow = placed(words, brief, from, to, NARROW_PX);
  const drawn = ({ share, anchor, words: fitting }: Placed, when: string) =>
    html`<text class="label ${tone} ${when}" x="${percent(share)}" y="${yPx}" text-anchor="${anchor}">${fitting}</text>`;
  const same = wide.words === narrow.words && wide.anchor === narrow.anchor;
  return same && wide.share === narrow.share
    ? drawn(wide, '')
    : html`${drawn(wide, 'on-wide')}${drawn(narrow, 'on-narrow')}`;
}

/** Where it fits inside a bar, the text; else nothing. */
export function insideLabel(
  words: string,
  [from, to]: readonly [number, number],
  yPx: number,
): Markup {
  const room = (px: number) => words.length * LETTER_PX + 8 <= (to - from) * px;
  if (!room(WIDE_PX)) return html``;
  const when = room(NARROW_PX) ? '' : 'on-wide';
  return html`<text class="label inside ${when}" x="${percent((from + to) / 2)}" y="${yPx}" text-anchor="middle">${words}</text>`;
}

/** How wide a text is on the narrowest page, as a share of the plot. */
export function widthOnNarrow(words: string): number {
  return (words.length * LETTER_PX + 6) / NARROW_PX;
}

/** The least number of the form 1, 2 or 5 times a power of ten that is not below `value`. */
export function roundUp(value: number): number {
  if (!(value > 0)) return 1;
  const scale = 10 ** Math.floor(Math.log10(value));
  return ([1, 2, 5].find((factor) => factor * scale >= value * (1 - 1e-9)) ?? 10) * scale;
}

type Placed = { share: number; anchor: 'start' | 'end'; words: string };

function placed(words: string, brief: string, from: number, to: number, px: number): Placed {
  const letters = (share: number) => Math.floor((share * px - 2) / LETTER_PX);
  if (words.length <= letters(1 - from)) return { share: from, anchor: 'start', words };
  if (words.length <= letters(to)) return { share: to, anchor: 'end', words };
  if (words.length <= letters(1)) return { share: 0.006, anchor: 'start', words };
  if (brief !== words) return placed(brief, brief, from, to, px);
  return { share: 0.006, anchor: 'start', words: cut(words, letters(1)) };
}

function steps(edges: readonly number[], heights: readonly number[]): string {
  let path = `${x(edges[0] ?? 0)} ${y(heights[0] ?? 0)}`;
  let last = heights[0] ?? 0;
  for (const [index, height] of heights.entries()) {
    if (height !== last) path += `H${x(edges[index] ?? 0)}V${y(height)}`;
    last = height;
  }
  return `${path}H${x(edges.at(-1) ?? 1)}`;
}

function x(share: number): number {
  return Math.round(share * ACROSS);
}

function y(share: number): number {
  return DOWN - Math.round(Math.min(1, Math.max(0, share)) * DOWN);
}
