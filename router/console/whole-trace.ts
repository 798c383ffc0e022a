/**
 * What did all regions together do for one request?
 *
 * Spans of several edges as one trace. Clocks of edges differ, and a request cannot have been handled
 * before it was sent: a part that does not lie within the hop that led to it is moved there, by the
 * clock of the edge that the client met. What the spans say of regions that told nothing is said, too.
 */
import type { RegionId } from '../../regions/catalogue.ts';
import { ATTRIBUTES as A } from '../telemetry/names.ts';
import type { RecordedSpan } from '../telemetry/telemetry.ts';
import type { PartView, SpanView, TraceAnswer } from './console-state.ts';

/** The spans of one request at one edge, its own first. */
export type Part = readonly RecordedSpan[];

/** What a region said when it was asked. */
export type Told =
  | { kind: 'told'; parts: readonly Part[] }
  | { kind: 'off' }
  | { kind: 'silent'; why: string };

type Placed = { region: RegionId; spans: SpanView[]; movedMs: number };

/** Undefined where nobody has a span of it. */
export function wholeTrace(
  traceId: string,
  told: ReadonlyMap<RegionId, Told>,
): TraceAnswer | undefined {
  const placed = new Map<string, Placed>();
  for (const [region, said] of told) {
    if (said.kind !== 'told') continue;
    for (const part of said.parts) {
      const [own] = part;
      if (own === undefined || placed.has(own.spanId)) continue;
      const spans = part.map((span) => ({ ...span, region }));
      placed.set(own.spanId, { region, spans, movedMs: 0 });
    }
  }
  if (placed.size === 0) return undefined;
  inOneTime(placed);
  const all = [...placed.values()];
  const spans = all.flatMap((part) => part.spans).sort((a, b) => a.startedAtMs - b.startedAtMs);
  const reached = new Set(spans.flatMap(regionsOf));
  const parts = [...told].flatMap(([region, said]): PartView[] => {
    const mine = all.filter((part) => part.region === region);
    const isPart = reached.has(region);
    if (said.kind === 'silent') return [{ region, kind: 'silent', isPart, why: said.why }];
    if (said.kind === 'off') return isPart ? [{ region, kind: 'off' }] : [];
    if (mine.length === 0) return isPart ? [{ region, kind: 'forgotten' }] : [];
    const movedMs = Math.max(...mine.map((part) => Math.abs(part.movedMs)));
    return [{ region, kind: 'told', movedMs: Math.round(movedMs * 10) / 10 }];
  });
  return { trace: { traceId, spans }, parts };
}

/** From the part that has no other above it downwards: whoever is moved takes along what it led to. */
function inOneTime(placed: ReadonlyMap<string, Placed>): void {
  const above = new Map<string, { span: SpanView; part: Placed }>();
  for (const part of placed.values()) {
    for (const span of part.spans) above.set(span.spanId, { span, part });
  }
  const done = new Set<Placed>();
  const place = (part: Placed): void => {
    if (done.has(part)) return;
    // Before what is above it, so that spans that lead to themselves come to an end.
    done.add(part);
    const own = part.spans[0];
    const led = above.get(own?.parentSpanId ?? '');
    if (own === undefined || led === undefined || led.part === part) return;
    place(led.part);
    const hop = above.get(own.parentSpanId ?? '')?.span;
    if (hop === undefined) return;
    const byMs = moveInto(own, hop);
    part.movedMs = byMs;
    if (byMs === 0) return;
    for (const span of part.spans) span.startedAtMs += byMs;
  };
  for (const part of placed.values()) place(part);
}

/** Nothing is known of the ways there and back but their sum, so both are drawn alike. */
function moveInto(own: SpanView, hop: SpanView): number {
  const roomMs = hop.durationMs - own.durationMs;
  const afterMs = own.startedAtMs - hop.startedAtMs;
  if (afterMs >= 0 && afterMs <= roomMs) return 0;
  return Math.max(0, roomMs) / 2 - afterMs;
}

/** Where a span says that the request went, or came from. */
function regionsOf({ region, kind, attributes }: SpanView): RegionId[] {
  const ends = [attributes[A.from], kind === 'client' ? attributes[A.to] : undefined];
  return [region, ...ends.filter((end) => typeof end === 'string')];
}

/**
 * What may be told to the console of another region: requests that have left theirs, and of those
 * nothing that stands for a person and no address inside a region's network. What one region did by
 * itself stays there.
 */
export function tellable(parts: readonly Part[]): Part[] {
  return parts
    .filter((part) => part.some(hasLeft))
    .map((part) => part.map((span) => ({ ...span, attributes: outward(span.attributes) })));
}

function hasLeft({ kind, attributes }: RecordedSpan): boolean {
  return kind === 'server' ? attributes[A.from] !== undefined : attributes[A.errand] !== undefined;
}

const INWARD: ReadonlySet<string> = new Set([A.subject, A.serverAddress, A.serverPort]);

function outward(attributes: RecordedSpan['attributes']): RecordedSpan['attributes'] {
  return Object.fromEntries(Object.entries(attributes).filter(([name]) => !INWARD.has(name)));
}
