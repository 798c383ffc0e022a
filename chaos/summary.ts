/**
 * What is to be said of a run, in a few lines or in one?
 */
import type { Operation } from './history.ts';
import type { RunRecord } from './run-record.ts';

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
    `${ok} done, ${fail} refused, ${unknown} unknown; at most ${Math.round(longestPauseMs(record))} ms without an acknowledged write of one home`,
    `verdict: ${verdict}`,
  );
  return lines;
}

/** The one line for programs. */
export function resultOf(record: RunRecord): object {
  const { scenario, seed, verdict, bit, history, judgements } = record;
  return {
    scenario,
    seed,
    verdict,
    bit: bit.bit,
    operations: history.operations.length,
    outcomes: outcomesOf(history.operations),
    longestPauseMs: Math.round(longestPauseMs(record)),
    evidence: [...record.faults.flatMap(({ evidence }) => evidence ?? []), ...bit.evidence],
    inconclusive: judgements.flatMap(({ judge, verdict: its, why }) =>
      its === 'inconclusive' ? [{ judge, why }] : [],
    ),
    violations: judgements.flatMap(({ judge, violations }) =>
      violations.map((violation) => ({ judge, ...violation })),
    ),
  };
}

function outcomesOf(operations: readonly Operation[]): Record<'ok' | 'fail' | 'unknown', number> {
  const counts = { ok: 0, fail: 0, unknown: 0 };
  for (const { outcome } of operations) counts[outcome.kind]++;
  return counts;
}

const WRITES = new Set(['register-write', 'register-swap', 'order', 'notice-write', 'create']);

/** Of any home: the longest time, from the first acknowledged write to the last, without one. */
export function longestPauseMs({
  history,
  regions,
}: Pick<RunRecord, 'history' | 'regions'>): number {
  const pauses = regions.map(({ id }) => {
    const times = history.operations
      .filter(
        ({ home, outcome, action }) => home === id && outcome.kind === 'ok' && isWrite(action),
      )
      .map(({ endedAtMs }) => endedAtMs)
      .sort((a, b) => a - b);
    return times.reduce((most, time, i) => Math.max(most, time - (times[i - 1] ?? time)), 0);
  });
  return Math.max(0, ...pauses);
}

function isWrite(action: Operation['action']): boolean {
  if (action.kind === 'lists') return action.steps.some((step) => step.do === 'append');
  return WRITES.has(action.kind);
}
