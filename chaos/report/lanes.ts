/**
 * Which figures of a run are drawn over its time, one under the other?
 *
 * Each lane has series, each series one value for each slice of the run. The drawing, its legend, the
 * read-out and the table of figures are all made from these, so they cannot differ.
 */
import type { Outcome } from '../history.ts';
import type { RunRecord } from '../run-record.ts';
import { DECISIONS } from './decision.ts';
import { gridLines, lineSteps, roundUp, stackedSteps, stretched, type Tick } from './drawing.ts';
import { bytes, count, duration, rate } from './figures.ts';
import { html, type Markup } from './markup.ts';
import type { Bucket, Buckets } from './time-buckets.ts';

export type Series = {
  name: string;
  /** Class of its colour and of its line. */
  tone: string;
  values: readonly (number | undefined)[];
  written(value: number): string;
};

export type Lane = {
  title: string;
  /** Of what, in which unit, on which scale. */
  unit: string;
  /** From the top of the drawing to its bottom, as far as they have such an order. */
  series: readonly Series[];
  heightPx: number;
  drawing: Markup;
  /** The drawing in a sentence. */
  says: string;
};

const HEIGHT_PX = 96;
/** A lane is no lower than its legend beside it. */
const HEIGHT_BY_SERIES_PX = 20;
const HEIGHT_MAX_PX = 200;
/** More series than colours of which no two are hard to tell apart. */
const TONES = 6;
/** More lines than this cannot be told apart. */
const REPLICAS_MAX = 24;

const OUTCOMES: readonly Outcome['kind'][] = ['ok', 'fail', 'unknown'];

export function lanes(record: RunRecord, buckets: Buckets): Lane[] {
  return [
    stacked(buckets, 'Requests by outcome', OUTCOMES, ({ outcomes }) => outcomes),
    stacked(buckets, 'Requests by decision', DECISIONS, ({ decisions }) => decisions),
    ...latencyLanes(record, buckets),
    ...lagLane(buckets),
  ];
}

function stacked<Name extends string>(
  { list, endMs }: Buckets,
  title: string,
  names: readonly Name[],
  of: (bucket: Bucket) => Record<Name, number>,
): Lane {
  const totals = names.map((name) => list.reduce((sum, bucket) => sum + of(bucket)[name], 0));
  const isThere = (index: number) => (totals[index] ?? 0) > 0 || names.length <= 3;
  const series = names.flatMap((name, index): Series[] => {
    if (!isThere(index)) return [];
    const values = list.map((bucket) => (of(bucket)[name] * 1_000) / lengthMs(bucket));
    return [{ name, tone: `t-${name.replaceAll(' ', '-')}`, values, written: rate }];
  });
  const peak = list.map((_, index) =>
    series.reduce((sum, { values }) => sum + (values[index] ?? 0), 0),
  );
  const top = roundUp(Math.max(0, ...peak));
  const layers = series.map(({ tone, values }) => ({
    tone,
    heights: values.map((value) => (value ?? 0) / top),
  }));
  return {
    title,
    unit: 'per second, by when sent',
    series: series.toReversed(),
    heightPx: heightFor(series),
    drawing: html`${stretched(heightFor(series), stackedSteps(edgesOf(list, endMs), layers))}${gridLines(heightFor(series), ticks(top))}`,
    says: `${title}: ${names.flatMap((name, index) => (isThere(index) ? [`${count(totals[index] ?? 0)} ${name}`] : [])).join(', ')}.`,
  };
}

const PERCENTILES = ['p99', 'p95', 'p50'] as const;

/** All on one scale, so that edges can be compared. */
function latencyLanes(record: RunRecord, { list, endMs }: Buckets): Lane[] {
  const asked = new Set(list.flatMap(({ latency }) => [...latency.keys()]));
  const known = record.regions.map(({ id }) => id).filter((id) => asked.has(id));
  const edges = [...known, ...[...asked].filter((id) => !known.includes(id)).sort()];
  let [least, most] = [Number.POSITIVE_INFINITY, 0];
  for (const { latency } of list)
    for (const { p50, p99 } of latency.values()) {
      least = Math.min(least, p50);
      most = Math.max(most, p99);
    }
  const low = Math.floor(Math.log10(Math.max(0.1, Math.min(least, most))));
  const high = Math.max(low + 1, Math.ceil(Math.log10(Math.max(0.1, most))));
  const share = (ms: number) => (Math.log10(Math.max(ms, 10 ** low)) - low) / (high - low);
  const marks: Tick[] = [];
  for (let power = low; power <= high; power += 1)
    marks.push({ at: share(10 ** power), label: duration(10 ** power).replace(/\.0+ /, ' ') });
  return edges.map((edge) => {
    const series = PERCENTILES.map((name): Series => {
      const values = list.map(({ latency }) => latency.get(edge)?.[name]);
      return { name, tone: `t-${name}`, values, written: duration };
    });
    const lines = series.map(({ values, tone }) => {
      const heights = values.map((value) => (value === undefined ? undefined : share(value)));
      return lineSteps(edgesOf(list, endMs), heights, tone);
    });
    const worst = Math.max(...(series[0]?.values ?? []).map((value) => value ?? 0));
    return {
      title: `Latency at edge ${edge}`,
      unit: 'all outcomes; logarithmic',
      series,
      heightPx: heightFor(series),
      drawing: html`${stretched(heightFor(series), lines.toReversed())}${gridLines(heightFor(series), marks)}`,
      says: `Latency of requests to edge ${edge}: the highest p99 of a slice of the run is ${duration(worst)}.`,
    };
  });
}

function lagLane({ list, endMs }: Buckets): Lane[] {
  const replicas = [...new Set(list.flatMap(({ lagBytes }) => [...lagBytes.keys()]))].sort();
  if (replicas.length === 0) return [];
  let most = 0;
  for (const { lagBytes } of list) for (const lag of lagBytes.values()) most = Math.max(most, lag);
  // Nothing is to be seen at the bottom, and the first hundred bytes are hardly more.
  const height = (lag: number) => Math.log10(1 + lag / 100);
  const top = Math.max(height(1_000), Math.ceil(height(most) * 2) / 2);
  const marks = [0, 1e3, 1e6, 1e9, 1e12]
    .filter((lag) => height(lag) <= top)
    .map((lag) => ({ at: height(lag) / top, label: bytes(lag) }));
  const series = replicas.slice(0, REPLICAS_MAX).map((name, index): Series => {
    const values = list.map(({ lagBytes }) => lagBytes.get(name));
    const tone = `t-${(index % TONES) + 1} dash-${index % 4}`;
    return { name, tone, values, written: bytes };
  });
  const lines = series.map(({ values, tone }) => {
    const heights = values.map((lag) => (lag === undefined ? undefined : height(lag) / top));
    return lineSteps(edgesOf(list, endMs), heights, tone);
  });
  return [
    {
      title: 'Replication lag',
      unit: 'bytes to replay; logarithmic',
      series,
      heightPx: heightFor(series),
      drawing: html`${stretched(heightFor(series), lines)}${gridLines(heightFor(series), marks)}`,
      says: `Replication lag of ${replicas.join(', ')}: at most ${bytes(most)}.`,
    },
  ];
}

function ticks(top: number): Tick[] {
  return [0, 0.5, 1].map((at) => ({ at, label: rate(top * at) }));
}

function heightFor(series: readonly Series[]): number {
  const needed = 36 + series.length * HEIGHT_BY_SERIES_PX;
  return Math.min(HEIGHT_MAX_PX, Math.max(HEIGHT_PX, needed));
}

function edgesOf(list: readonly Bucket[], endMs: number): number[] {
  return [...list.map(({ fromMs }) => fromMs / endMs), 1];
}

function lengthMs({ fromMs, untilMs }: Bucket): number {
  return Math.max(1, untilMs - fromMs);
}
