/**
 * How is a schedule of faults played?
 *
 * Each fault begins at its time and ends at its time, whatever the others do. All that lasts is
 * healed when the schedule is over, when it is ended early, and when something goes wrong.
 */
import { setTimeout as pause } from 'node:timers/promises';
import type { Announcer } from './announcer.ts';
import { type Breaking, whyOf } from './faults/breaking.ts';
import { faultText, regionsOf, type Schedule, type Timed } from './faults/fault.ts';
import type { AcceptedLoss } from './history.ts';
import type { FaultSpan, Incident } from './run-record.ts';

export type Played = {
  spans: FaultSpan[];
  /** Those that could not be done, and why. */
  failures: string[];
  /** What lasted longer than it was to, because it could not be undone at its time. */
  incidents: Incident[];
  acceptedLosses: AcceptedLoss[];
};

/** @throws ChaosError when something cannot be undone, however often it is tried. */
export async function play(
  schedule: Schedule,
  options: {
    breaking: Breaking;
    regions: readonly string[];
    now: () => number;
    report: (line: string) => void;
    signal: AbortSignal;
    /** Who is told beside the run. */
    announcer?: Announcer;
  },
): Promise<Played> {
  const { breaking, regions, now, report, signal, announcer } = options;
  const played: Played = { spans: [], failures: [], incidents: [], acceptedLosses: [] };
  const late: { span: FaultSpan; why: string }[] = [];
  const until = (atMs: number) =>
    pause(Math.max(0, atMs - now()), undefined, { signal }).catch(() => {});
  const one = async ({ atMs, forMs, fault }: Timed) => {
    await until(atMs);
    if (signal.aborted) return;
    const fromMs = now();
    const span: FaultSpan = {
      says: faultText(fault),
      kind: fault.kind,
      regions: regionsOf(fault, regions),
      fromMs,
    };
    played.spans.push(span);
    report(span.says);
    const broken = await breaking.begin(fault);
    span.says = broken.says;
    if (broken.acceptedLoss !== undefined) {
      played.acceptedLosses.push({ ...broken.acceptedLoss, atMs: fromMs, doneAtMs: now() });
    }
    const name = `${played.spans.indexOf(span)}`;
    announcer?.say({ kind: 'fault', fault: name, what: span.says, where: span.regions });
    if (broken.evidence !== undefined) span.evidence = broken.evidence;
    if (forMs === undefined) return;
    await until(fromMs + forMs);
    try {
      await broken.heal();
    } catch (error) {
      const why = whyOf(error);
      late.push({ span, why });
      report(`not undone yet: ${span.says}: ${why}`);
      return;
    }
    span.untilMs = now();
    announcer?.say({ kind: 'heal', fault: name });
    report(`over: ${span.says}`);
  };
  try {
    await Promise.all(
      schedule.map((timed) =>
        one(timed).catch((error: unknown) => {
          const why = whyOf(error);
          played.failures.push(`${faultText(timed.fault)}: ${why}`);
          report(`cannot be done: ${faultText(timed.fault)}: ${why}`);
        }),
      ),
    );
  } finally {
    await breaking.healAll();
  }
  for (const { span, why } of late) {
    span.untilMs = now();
    const says = `undone only after another try: ${span.says}: ${why}`;
    played.incidents.push({ atMs: span.untilMs, says });
    report(says);
  }
  played.spans.sort((a, b) => a.fromMs - b.fromMs);
  return played;
}
