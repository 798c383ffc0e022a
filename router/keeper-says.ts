/**
 * Does the keeper's record say that this primary runs alone, and that nobody has replaced it?
 *
 * A primary without a standby can prove nothing by a commit. But nobody is promoted before the record
 * says so, so an answer that was asked for after a read shows that no promotion was decided before.
 * Anything that is not plainly that answer proves nothing.
 */
import { z } from 'zod';
import type { NotConfirmed } from './barrier.ts';

/** `GET /primary` of a keeper; what else it says is for others. */
const Answer = z.object({
  region: z.string(),
  primary: z.string(),
  timeline: z.int().min(1),
  /** Whom commits wait for: only one of these may be promoted. */
  standbys: z.array(z.string()),
  /** What the keeper is about to do. */
  pending: z.looseObject({ kind: z.string() }).nullable(),
});

export type KeeperSays =
  | {
      kind: 'primary';
      primary: string;
      timeline: number;
      standbys: readonly string[];
      isQuiet: boolean;
    }
  | NotConfirmed;

export function readKeeper(answer: unknown, region: string): KeeperSays {
  const read = Answer.safeParse(answer);
  if (!read.success || read.data.region !== region) return { kind: 'not_confirmed' };
  const { primary, timeline, standbys, pending } = read.data;
  return { kind: 'primary', primary, timeline, standbys, isQuiet: isQuiet(pending) };
}

/** Before a move promotes anybody, another version says so. */
function isQuiet(pending: { kind: string } | null): boolean {
  return pending === null || pending.kind === 'move';
}

export function isAlone(says: KeeperSays, node: string, timeline: number): boolean {
  return (
    says.kind === 'primary' &&
    says.primary === node &&
    says.timeline === timeline &&
    says.standbys.length === 0 &&
    says.isQuiet
  );
}
