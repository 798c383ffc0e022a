/**
 * What is to be said of a run, in a few lines or in one?
 */
import type { Operation } from './history.ts';
import { lengthOf, longest, type WritePause, writePauses } from './report/write-pauses.ts';
import type { RunRecord, Violation } from './run-record.ts';

export function summary(record: RunRecord): string[] {
  const { faults, bit, judgements, verdict } = record;
  const lines = faults.map(
    ({ says, evidence = 'nothing shows it' }) => `fault: ${says}: ${evidence}`,
  );
  lines.push(...bit.evidence.map((evidence) => `${bit.bit ? 'felt' : 'void'}: ${evidence}`));
  for (const { judge, verdict: its, checked, why, violations } of judgements) {
    lines.push(
      `${its.padEnd(12)} ${judge} (${checked} looked at)${why === undefined ? '' : `: ${why}`}`,
    );
    for (const { promise, says } of violations.slice(0, 5)) lines.push(`  ${promise}: ${says}`);
  }
  const { ok, fail, unknown } = outcomesOf(record.history.operations);
  lines.push(
    `${ok} done, ${fail} refused, ${unknown} unknown; ${pauseText(pauseOf(record))}`,
    `verdict: ${verdict}`,
  );
  return lines;
}

/** The one line for programs: a row of the table. */
export type Result = {
  scenario: string;
  claim: string;
  seed: number;
  verdict: RunRecord['verdict'];
  bit: boolean;
  operations: number;
  outcomes: Record<'ok' | 'fail' | 'unknown', number>;
  /** At any home, because of a fault. Null: none ended, or nobody wrote. */
  longestWritePauseMs: number | null;
  /** The home of that pause; null where nobody wrote after a fault. */
  longestWritePauseAt: string | null;
  evidence: string[];
  inconclusive: { judge: string; checked: number; why: string | undefined }[];
  violations: ({ judge: string } & Violation)[];
  /** Why there is no more to be told of it. */
  why?: string;
};

export function resultOf(record: RunRecord): Result {
  const { scenario, claim, seed, verdict, bit, history, judgements } = record;
  const pause = pauseOf(record);
  return {
    scenario,
    claim,
    seed,
    verdict,
    bit: bit.bit,
    operations: history.operations.length,
    outcomes: outcomesOf(history.operations),
    longestWritePauseMs: pause?.kind === 'over' ? Math.round(lengthOf(pause)) : null,
    longestWritePauseAt: pause?.home ?? null,
    evidence: [...record.faults.flatMap(({ evidence }) => evidence ?? []), ...bit.evidence],
    inconclusive: judgements.flatMap(({ judge, verdict: its, checked, why }) =>
      its === 'inconclusive' ? [{ judge, checked, why }] : [],
    ),
    violations: judgements.flatMap(({ judge, violations }) =>
      violations.map((violation) => ({ judge, ...violation })),
    ),
  };
}

/** Of a run that could not be made. */
export function notPlayed(
  { name: scenario, claim }: { name: string; claim: string },
  seed: number,
  why: string,
): Result {
  const nothing = { operations: 0, outcomes: { ok: 0, fail: 0, unknown: 0 } };
  const noPause = { longestWritePauseMs: null, longestWritePauseAt: null };
  const lists = { evidence: [], inconclusive: [], violations: [] };
  return {
    scenario,
    claim,
    seed,
    verdict: 'void',
    bit: false,
    ...nothing,
    ...noPause,
    ...lists,
    why,
  };
}

function pauseOf({ faults, history }: RunRecord): WritePause | undefined {
  return longest(writePauses(faults, history.operations).flat());
}

function pauseText(pause: WritePause | undefined): string {
  if (pause === undefined) return 'nobody wrote after a fault';
  return pause.kind === 'over'
    ? `at most ${Math.round(lengthOf(pause))} ms without an acknowledged write, at home in ${pause.home}`
    : `no write of ${pause.home} was acknowledged any more`;
}

function outcomesOf(operations: readonly Operation[]): Result['outcomes'] {
  const counts = { ok: 0, fail: 0, unknown: 0 };
  for (const { outcome } of operations) counts[outcome.kind]++;
  return counts;
}
