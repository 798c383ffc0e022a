/**
 * What was announced that is being done to this system on purpose?
 *
 * Whoever breaks it says so here, so that a person at the console does not hunt for the cause of
 * what somebody else does. Announcements are believed and change nothing else. Bounded in every
 * direction, and in memory of this edge.
 */
import * as z from 'zod';
import type { ExperimentView } from './console-state.ts';

export const EXPERIMENTS_MAX = 16;
export const FAULTS_MAX = 200;
const PLACES_MAX = 32;
/** Nobody who still announces is silent for so long; then it counts as ended without a word. */
export const SILENT_MS_MAX = 30 * 60_000;

const id = z.string().min(1).max(100);
const words = z.string().min(1).max(300);

export const Announcement = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('start'), id, name: words }),
  z.strictObject({
    kind: z.literal('fault'),
    id,
    /** Names the fault within its experiment, for the heal. */
    fault: id,
    what: words,
    where: z.array(words).max(PLACES_MAX),
  }),
  z.strictObject({ kind: z.literal('heal'), id, fault: id }),
  z.strictObject({ kind: z.literal('end'), id, verdict: words.optional() }),
]);
export type Announcement = z.infer<typeof Announcement>;

export type Announced =
  | { kind: 'noted' }
  | { kind: 'unknown-experiment' }
  | { kind: 'unknown-fault' }
  | { kind: 'too-many-faults' };

type Fault = ExperimentView['faults'][number] & { id: string };
type Kept = Omit<ExperimentView, 'faults'> & { faults: Fault[]; heardAtMs: number };

export class Experiments {
  /** By id, eldest first. */
  #kept = new Map<string, Kept>();

  announce(said: Announcement, nowMs: number): Announced {
    if (said.kind === 'start') {
      this.#kept.delete(said.id);
      this.#kept.set(said.id, {
        id: said.id,
        name: said.name,
        startedAtMs: nowMs,
        endedAtMs: null,
        verdict: null,
        faults: [],
        heardAtMs: nowMs,
      });
      const [eldest] = this.#kept.keys();
      if (this.#kept.size > EXPERIMENTS_MAX && eldest !== undefined) this.#kept.delete(eldest);
      return { kind: 'noted' };
    }
    const kept = this.#kept.get(said.id);
    if (kept === undefined || kept.endedAtMs !== null) return { kind: 'unknown-experiment' };
    kept.heardAtMs = nowMs;
    switch (said.kind) {
      case 'fault': {
        if (kept.faults.length >= FAULTS_MAX) return { kind: 'too-many-faults' };
        const { fault, what, where } = said;
        kept.faults.push({ id: fault, what, where, fromMs: nowMs, toMs: null });
        return { kind: 'noted' };
      }
      case 'heal': {
        const fault = kept.faults.findLast(({ id, toMs }) => id === said.fault && toMs === null);
        if (fault === undefined) return { kind: 'unknown-fault' };
        fault.toMs = nowMs;
        return { kind: 'noted' };
      }
      case 'end':
        this.#end(kept, nowMs, said.verdict ?? null);
        return { kind: 'noted' };
    }
  }

  /** Newest first. */
  views(nowMs: number): ExperimentView[] {
    for (const kept of this.#kept.values()) {
      const isOver = nowMs - kept.heardAtMs >= SILENT_MS_MAX;
      if (kept.endedAtMs === null && isOver) {
        this.#end(kept, kept.heardAtMs, 'nobody said how it ended');
      }
    }
    return [...this.#kept.values()].reverse().map(({ heardAtMs: _, faults, ...view }) => ({
      ...view,
      faults: faults.map(({ id: _id, ...fault }) => fault),
    }));
  }

  #end(kept: Kept, atMs: number, verdict: string | null): void {
    kept.endedAtMs = atMs;
    kept.verdict = verdict;
    for (const fault of kept.faults) fault.toMs ??= atMs;
  }
}
