/**
 * What do judges have to be told of a run that its history does not say?
 *
 * When all was healed, which regions no fault concerned and since when clients were warm, how often a
 * primary was replaced, and what a scenario knows of the clocks of its world.
 */
import type { JudgeOptions } from './judges/all.ts';
import type { FaultSpan, Look } from './run-record.ts';
import type { Scenario } from './scenario.ts';

/** Before the first fault, connections are made and caches filled. */
export const COMPARED_FROM_MS = 1_000;
/** Of regions that no fault touched, few operations are enough to see that nobody is refused. */
const COMPARED_OPERATIONS_MIN = 15;
/** On two cores with nine servers, less is what everybody takes from everybody. */
const SLOWER_MS_MIN = 1_000;

/** In less there are too few operations to compare. */
const LASTING_MS_MIN = 5_000;

export type RunFacts = {
  scenario: Pick<Scenario, 'clocksDifferMs'>;
  faults: readonly FaultSpan[];
  looks: readonly Look[];
  regions: readonly string[];
  /** When clients were let loose. */
  beganAtMs: number;
  healedAtMs: number;
  graceMs: number;
};

export function judgeOptionsOf(facts: RunFacts): JudgeOptions {
  const { scenario, looks, regions, healedAtMs, graceMs } = facts;
  return {
    healedAtMs,
    graceMs,
    untouched: untouchedBy(facts),
    operationsMin: COMPARED_OPERATIONS_MIN,
    slowerMsMin: SLOWER_MS_MIN,
    // What the witness asks of its database.
    isolation: 'serializable',
    changesOfPrimary: changesOfPrimary(looks, regions),
    ...(scenario.clocksDifferMs !== undefined && { clocksDifferMs: scenario.clocksDifferMs }),
  };
}

/**
 * Regions that no fault concerned, until everybody is to be served again: what follows from a kill
 * comes after it, and is nobody else's either. Where all faults last for a while, how fast others were
 * is measured while they did: what comes after would hide it.
 */
function untouchedBy({
  faults,
  regions: all,
  beganAtMs,
  healedAtMs,
  graceMs,
}: RunFacts): NonNullable<JudgeOptions['untouched']> {
  const touched = new Set(faults.flatMap(({ regions }) => regions));
  const regions = all.filter((region) => !touched.has(region));
  if (regions.length === 0 || faults.length === 0) return [];
  const fromMs = Math.min(...faults.map((span) => span.fromMs));
  const comparedFromMs = beganAtMs + COMPARED_FROM_MS;
  const isLasting = faults.every(({ untilMs }) => untilMs !== undefined);
  return [
    {
      regions,
      fromMs,
      untilMs: healedAtMs + graceMs,
      comparedFromMs,
      ...(isLasting && healedAtMs - fromMs >= LASTING_MS_MIN && { comparedUntilMs: healedAtMs }),
    },
  ];
}

/** A promotion starts a timeline, and no other thing does. */
function changesOfPrimary(
  looks: readonly Look[],
  regions: readonly string[],
): Record<string, number> {
  return Object.fromEntries(
    regions.map((region) => {
      const timelines = looks.flatMap((look) =>
        look.region === region && look.timeline !== undefined ? [look.timeline] : [],
      );
      return [region, timelines.length === 0 ? 0 : Math.max(...timelines) - Math.min(...timelines)];
    }),
  );
}
