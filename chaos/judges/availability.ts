/**
 * Were regions that no fault touched as good as before?
 *
 * Looks at operations whose edge and home are both untouched: none of them fails, and they are not
 * slower than they were before by more than a factor. Creating somebody asks other regions, and so
 * does looking for somebody who was never created: both are left out. Below a number of operations a quantile says nothing, and neither does this judge.
 */
import type { History, Operation } from '../history.ts';
import type { Judgement, Violation } from '../run-record.ts';
import { isServed } from './allowed-refusals.ts';
import { idsOf, inWords, ms } from './in-words.ts';
import { judgement } from './judgement.ts';

export type Untouched = {
  regions: readonly string[];
  fromMs: number;
  untilMs: number;
  /** What it is compared with begins here and ends with `fromMs`; without it, with the run. */
  comparedFromMs?: number;
  /** How long operations take is compared for those sent until here; without it, for all. */
  comparedUntilMs?: number;
};

export type AvailabilityOptions = {
  untouched?: readonly Untouched[];
  /** Which of the latencies, sorted, is compared: 0.95 is the one that 19 of 20 do not exceed. */
  quantile?: number;
  /** How many times as long it may take. */
  ratioMax?: number;
  /** A difference that is smaller than this is noise. */
  slowerMsMin?: number;
  /** On each side of the comparison. */
  operationsMin?: number;
};

const ERRORS = 'other regions serve their own as before';
const SLOWER = 'other regions serve their own as fast as before';

export function availability(
  { operations }: History,
  {
    untouched = [],
    quantile = 0.95,
    ratioMax = 3,
    slowerMsMin = 100,
    operationsMin = 50,
  }: AvailabilityOptions = {},
): Judgement {
  const violations: Violation[] = [];
  const undecided: string[] = [];
  let checked = 0;
  const livesFromMs = createdAtMs(operations);
  for (const one of untouched) {
    const { regions, fromMs, untilMs, comparedFromMs = 0, comparedUntilMs = untilMs } = one;
    const theirs = operations.filter(
      ({ edge, home, action, subject, invokedAtMs }) =>
        regions.includes(edge) &&
        regions.includes(home) &&
        action.kind !== 'create' &&
        (livesFromMs.get(subject) ?? 0) <= invokedAtMs,
    );
    const during = theirs.filter(
      ({ invokedAtMs, endedAtMs }) => invokedAtMs >= fromMs && endedAtMs <= untilMs,
    );
    const before = theirs.filter(
      ({ invokedAtMs, endedAtMs }) => invokedAtMs >= comparedFromMs && endedAtMs < fromMs,
    );
    checked += during.length;
    for (const operation of during) {
      if (isServed(operation)) continue;
      violations.push({
        promise: ERRORS,
        says: `No fault concerned ${regions.join(' and ')} from ${ms(fromMs)} to ${ms(untilMs)} ms, and yet this did not succeed: ${inWords(operation)}.`,
        operations: idsOf([operation]),
      });
    }
    const compared = during.filter(({ invokedAtMs }) => invokedAtMs <= comparedUntilMs);
    const few = Math.min(compared.length, before.length);
    if (few < operationsMin) {
      undecided.push(`${few} operations of ${regions.join(' and ')} are too few to compare`);
      continue;
    }
    const [was, is] = [latencyMs(before, quantile), latencyMs(compared, quantile)];
    if (is <= was * ratioMax || is - was < slowerMsMin) continue;
    violations.push({
      promise: SLOWER,
      says: `No fault concerned ${regions.join(' and ')} from ${ms(fromMs)} to ${ms(comparedUntilMs)} ms, and yet ${quantile * 100} % of their operations took up to ${ms(is)} ms instead of ${ms(was)} ms.`,
      operations: slowest(compared),
    });
  }
  return judgement({
    judge: 'availability',
    checked,
    violations,
    nothing:
      untouched.length === 0
        ? 'nobody said which regions were untouched'
        : 'nothing was sent to untouched regions',
    undecided: undecided.length === 0 ? undefined : undecided.join('; '),
  });
}

/** When each was told of first; never where nobody succeeded. Who is in no creation was there before. */
function createdAtMs(operations: readonly Operation[]): Map<string, number> {
  const created = new Map<string, number>();
  for (const { action, subject, outcome, endedAtMs } of operations) {
    if (action.kind !== 'create') continue;
    const before = created.get(subject) ?? Number.POSITIVE_INFINITY;
    created.set(subject, outcome.kind === 'ok' ? Math.min(before, endedAtMs) : before);
  }
  return created;
}

function latencyMs(operations: readonly Operation[], quantile: number): number {
  const sorted = operations
    .map(({ invokedAtMs, endedAtMs }) => endedAtMs - invokedAtMs)
    .sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * quantile))] ?? 0;
}

function slowest(operations: readonly Operation[]): number[] {
  const shownMax = 5;
  return [...operations]
    .sort((a, b) => b.endedAtMs - b.invokedAtMs - (a.endedAtMs - a.invokedAtMs))
    .slice(0, shownMax)
    .map(({ id }) => id);
}
