/**
 * What has each region of this trace?
 *
 * A request that was sent on has spans at several edges. The edge that shows it asks every edge of the
 * other regions, once for those who look at the same one meanwhile, and waits for none of them for
 * long. A peer tells what has crossed a border already, to the edge whose signed hop asks.
 */
import * as z from 'zod';
import type { RegionId } from '../../regions/catalogue.ts';
import type { Edge } from '../edge.ts';
import type { TraceAnswer } from './console-state.ts';
import { partsOf } from './traces.ts';
import { type Part, type Told, tellable, wholeTrace } from './whole-trace.ts';
import { whyInWords } from './why-in-words.ts';

/** Longer than the longest way around the world and back; a person waits. */
const ASK_MS_MAX = 1_500;
/** Searches under way at once: what they need of the questions between edges is never missed there. */
export const SEARCHES_MAX = 4;

/** What an edge tells another one. */
export type TraceParts = {
  region: RegionId;
  telemetry: 'on' | 'off';
  parts: readonly Part[];
};

const Attribute = z.union([z.string(), z.number(), z.boolean(), z.array(z.string())]);
const Span = z.object({
  spanId: z.string(),
  parentSpanId: z.string().optional(),
  name: z.string(),
  kind: z.enum(['server', 'client', 'internal']),
  startedAtMs: z.number(),
  durationMs: z.number().min(0),
  error: z.boolean(),
  attributes: z.record(z.string(), Attribute),
});
/** Edges of two versions may run beside each other for a while. */
const Parts = z.object({
  region: z.string(),
  telemetry: z.enum(['on', 'off']),
  parts: z.array(z.array(Span.transform((span) => ({ parentSpanId: undefined, ...span })))),
});

export type Found =
  | { kind: 'found'; answer: TraceAnswer }
  | { kind: 'nowhere' }
  /** As many are searched for as may be. */
  | { kind: 'busy' };

export class TraceSearch {
  #edge: Edge;
  #underWay = new Map<string, Promise<Found>>();

  constructor(edge: Edge) {
    this.#edge = edge;
  }

  find(traceId: string): Promise<Found> {
    const known = this.#underWay.get(traceId);
    if (known !== undefined) return known;
    if (this.#underWay.size >= SEARCHES_MAX) return Promise.resolve({ kind: 'busy' });
    const searched = this.#find(traceId).finally(() => this.#underWay.delete(traceId));
    this.#underWay.set(traceId, searched);
    return searched;
  }

  async #find(traceId: string): Promise<Found> {
    const { here, catalogue, telemetry } = this.#edge;
    const told = await Promise.all(
      [...catalogue.regions.values()].map(async ({ id, edges }): Promise<[RegionId, Told]> => {
        if (id !== here) return [id, await this.#ask(id, edges, traceId)];
        return telemetry === undefined
          ? [id, { kind: 'off' }]
          : [id, { kind: 'told', parts: partsOf(telemetry, traceId) }];
      }),
    );
    const answer = wholeTrace(traceId, new Map(told));
    return answer === undefined ? { kind: 'nowhere' } : { kind: 'found', answer };
  }

  /** Which of a region's edges has served is known to that edge alone. */
  async #ask(region: RegionId, edges: readonly { name: string }[], traceId: string): Promise<Told> {
    const all = await Promise.all(edges.map(({ name }) => this.#askEdge(region, name, traceId)));
    const parts = all.flatMap((one) => (one.kind === 'told' ? one.parts : []));
    const silent = all.find((one) => one.kind === 'silent');
    if (parts.length === 0 && silent !== undefined) return silent;
    const records = all.some((one) => one.kind === 'told');
    return records ? { kind: 'told', parts } : { kind: 'off' };
  }

  async #askEdge(region: RegionId, name: string, traceId: string): Promise<Told> {
    try {
      const answer = await this.#edge.tracePartsOf(region, name, traceId, ASK_MS_MAX);
      if (answer.status !== 200) {
        return { kind: 'silent', why: `it answers with status ${answer.status}` };
      }
      const told = Parts.safeParse(answer.body);
      if (!told.success || told.data.region !== region) {
        return { kind: 'silent', why: 'its edge is of another version' };
      }
      const { telemetry, parts } = told.data;
      return telemetry === 'off' ? { kind: 'off' } : { kind: 'told', parts };
    } catch (error) {
      return { kind: 'silent', why: whyInWords(error) };
    }
  }
}

/** For the console of another region. */
export function tellParts({ here, telemetry }: Edge, traceId: string): TraceParts {
  return telemetry === undefined
    ? { region: here, telemetry: 'off', parts: [] }
    : { region: here, telemetry: 'on', parts: tellable(partsOf(telemetry, traceId)) };
}
