/**
 * What were the last requests of this edge like?
 *
 * The spans of finished traces, kept in memory for whoever looks at the edge itself. Bounded in
 * bytes, as they would be in JSON; the oldest go first. Spans end before the span that they belong
 * to, so a trace is complete when the request's own span ends.
 */
import type { RecordedSpan, RecordedTrace } from './telemetry.ts';

export const TRACES_BYTES_MAX = 4 * 1024 * 1024;
/** Requests under way at once are fewer than this; what never ends is forgotten. */
const OPEN_MAX = 4_096;
/** A request that runs more statements than this is not the one to look at span by span. */
const SPANS_MAX = 128;

type Kept = { trace: RecordedTrace; bytes: number };

export class RecentTraces {
  #bytesMax: number;
  #open = new Map<string, RecordedSpan[]>();
  #kept: Kept[] = [];
  #bytes = 0;

  constructor(bytesMax = TRACES_BYTES_MAX) {
    this.#bytesMax = bytesMax;
  }

  get bytes(): number {
    return this.#bytes;
  }

  ended(traceId: string, span: RecordedSpan): void {
    if (span.kind !== 'server') {
      this.#add(span.parentSpanId ?? '', span);
      return;
    }
    const parts = this.#open.get(span.spanId) ?? [];
    this.#open.delete(span.spanId);
    parts.sort((a, b) => a.startedAtMs - b.startedAtMs);
    const trace = { traceId, spans: [span, ...parts] };
    const bytes = JSON.stringify(trace).length;
    this.#kept.push({ trace, bytes });
    this.#bytes += bytes;
    while (this.#bytes > this.#bytesMax) this.#bytes -= this.#kept.shift()?.bytes ?? 0;
  }

  /** Newest first. */
  all(): RecordedTrace[] {
    return this.#kept.map(({ trace }) => trace).reverse();
  }

  #add(parent: string, span: RecordedSpan): void {
    let parts = this.#open.get(parent);
    if (parts === undefined) {
      parts = [];
      this.#open.set(parent, parts);
      const [eldest] = this.#open.keys();
      if (this.#open.size > OPEN_MAX && eldest !== undefined) this.#open.delete(eldest);
    }
    if (parts.length < SPANS_MAX) parts.push(span);
  }
}
