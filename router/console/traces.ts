/**
 * Which requests has this edge recorded lately, and how did they go?
 *
 * From what telemetry keeps in memory: one line for each, and the spans of one. Where telemetry is
 * off there are none, and the answer says so. `trace-search.ts` adds what other edges have of one.
 */
import { ATTRIBUTES as A } from '../telemetry/names.ts';
import type { Attribute, RecordedTrace, Telemetry } from '../telemetry/telemetry.ts';
import type { TracesAnswer } from './console-state.ts';
import type { Part } from './whole-trace.ts';

/** More than a person reads through. */
export const TRACES_MAX = 200;
/** A client may have its own trace go on over any number of requests. */
const PARTS_MAX = 32;

export type TraceLine = TracesAnswer['traces'][number];

export function tracesAnswer(telemetry: Telemetry | undefined): TracesAnswer {
  if (telemetry === undefined) return { telemetry: 'off', traces: [] };
  return { telemetry: 'on', traces: lines(telemetry.recentTraces()) };
}

/** Of one trace: a request may come to an edge more than once, and so may a client's trace. */
export function partsOf(telemetry: Telemetry, traceId: string): Part[] {
  return telemetry
    .recentTraces()
    .filter((trace) => trace.traceId === traceId)
    .slice(0, PARTS_MAX)
    .map(({ spans }) => spans);
}

/** Of requests about one subject, by the name that telemetry gives it. */
export function tracesOf(telemetry: Telemetry | undefined, subject: string): TraceLine[] {
  const traces = telemetry?.recentTraces() ?? [];
  return lines(traces.filter(({ spans }) => spans[0]?.attributes[A.subject] === subject));
}

function lines(traces: readonly RecordedTrace[]): TraceLine[] {
  return traces.slice(0, TRACES_MAX).flatMap(({ traceId, spans }) => {
    const [root] = spans;
    if (root === undefined) return [];
    const { startedAtMs, durationMs, attributes } = root;
    return {
      traceId,
      startedAtMs,
      durationMs,
      method: text(attributes[A.method]) ?? '',
      route: text(attributes[A.route]),
      status: Number(attributes[A.status] ?? 0),
      decision: text(attributes[A.decision]),
      to: text(attributes[A.to]),
      rung: text(attributes[A.rung]),
      subject: text(attributes[A.subject]),
      spans: spans.length,
    };
  });
}

function text(value: Attribute | undefined): string | null {
  return typeof value === 'string' ? value : null;
}
