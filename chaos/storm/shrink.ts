/**
 * What is the shortest schedule that still fails?
 *
 * First as few faults as can be, then each as short as can be. Whether a schedule fails is found by
 * playing it: more than once, because how requests fall between each other differs each time.
 */
import type { Schedule, Timed } from '../faults/fault.ts';
import { ddmin } from './ddmin.ts';

export type Shrinking = {
  /** Plays it once, and answers whether the same promise was broken. */
  fails: (schedule: Schedule) => Promise<boolean>;
  /** A schedule fails if it does so at least `ofTries.atLeast` times in `ofTries.tries`. */
  ofTries: { tries: number; atLeast: number };
  isOver: () => boolean;
  report: (line: string) => void;
};

export type Shrunk = {
  schedule: Schedule;
  /** How often a schedule was played. */
  plays: number;
  /** No fault of it can be left out. */
  minimal: boolean;
};

/** A fault that lasts less is hardly begun when it is over. */
export const LASTS_MS_MIN = 500;

export async function shrink(
  schedule: Schedule,
  { fails, ofTries, isOver, report }: Shrinking,
): Promise<Shrunk> {
  let plays = 0;
  const failsOften = async (tried: Schedule): Promise<boolean> => {
    let failed = 0;
    for (let left = ofTries.tries; left > 0; left--) {
      if (isOver()) return false;
      plays++;
      if (await fails(tried)) failed++;
      if (failed >= ofTries.atLeast) return true;
      if (failed + left - 1 < ofTries.atLeast) return false;
    }
    return false;
  };
  const reduced = await ddmin(
    schedule,
    async (part) => {
      const does = await failsOften(part);
      report(`${part.length} of ${schedule.length} faults: ${does ? 'still fails' : 'holds'}`);
      return does;
    },
    isOver,
  );
  let shortest: readonly Timed[] = reduced.items;
  for (let at = 0; at < shortest.length && !isOver(); ) {
    const timed = shortest[at] as Timed;
    const forMs = Math.max(LASTS_MS_MIN, Math.floor((timed.forMs ?? 0) / 2));
    if (timed.forMs === undefined || forMs >= timed.forMs) {
      at++;
      continue;
    }
    const tried = shortest.with(at, { ...timed, forMs });
    const does = await failsOften(tried);
    report(`fault ${at + 1} for ${forMs} ms: ${does ? 'still fails' : 'holds'}`);
    if (does) shortest = tried;
    else at++;
  }
  return { schedule: shortest, plays, minimal: reduced.minimal };
}
