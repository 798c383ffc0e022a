/**
 * How does a judge put what it found?
 *
 * A contradiction breaks the promise, whatever else was not looked at. Without one, a judge that saw
 * nothing, or had to give up somewhere, does not claim that the promise holds.
 */
import type { Judgement, Violation } from '../run-record.ts';

/** So many are put into words: one mistake often breaks thousands of answers in the same way. */
export const VIOLATIONS_MAX = 50;

export type Findings = {
  judge: string;
  checked: number;
  violations: readonly Violation[];
  /** What there would have been to look at, where nothing was: `no operation was strong`. */
  nothing: string;
  /** Why some of it could not be decided. */
  undecided?: string | undefined;
  /** Found, and promised by nobody. */
  apart?: readonly Violation[];
};

export function judgement(findings: Findings): Judgement {
  const { judge, checked, violations, nothing, undecided, apart = [] } = findings;
  const why = checked === 0 && violations.length === 0 ? nothing : undecided;
  const verdict =
    violations.length > 0 ? 'broken' : why === undefined ? 'holds' : ('inconclusive' as const);
  return {
    judge,
    verdict,
    checked,
    violations: shortened(violations),
    ...(verdict === 'inconclusive' && why !== undefined && { why }),
    ...(apart.length > 0 && { apart: shortened(apart) }),
  };
}

function shortened(violations: readonly Violation[]): readonly Violation[] {
  if (violations.length <= VIOLATIONS_MAX) return violations;
  const told = violations.slice(0, VIOLATIONS_MAX - 1);
  const rest = violations.slice(VIOLATIONS_MAX - 1);
  const promise = rest[0]?.promise ?? '';
  return [...told, { promise, says: `And ${rest.length} more.`, operations: [] }];
}
