/**
 * Which of the requests that this edge turns away are worth a line in its log?
 *
 * Each one, until there are many for one reason: then some, with how many went by untold since the
 * last of them. Reasons do not share their lines, so a crowd of strangers at paths that do not exist
 * hides no region that cannot be reached. A line is made of Domicile's own words, the route's pattern
 * and the trace; nothing that came with a request is in it.
 */
import type { PassedOver } from '../policies/place-read.ts';
import type { RegionId } from '../regions/catalogue.ts';

/** Of each reason, before any is left out. */
export const LINES_AT_ONCE_MAX = 20;
/** From then on, one line of a reason in this time. */
export const LINE_EVERY_MS = 1_000;

export type RefusedRequest = {
  /** The kind of the problem. */
  reason: string;
  status: number;
  /** Undefined where no route was met. */
  route: { method: string; pattern: string } | undefined;
  home: RegionId | undefined;
  /** The region whose edge sent it. */
  from: RegionId | undefined;
  passedOver: readonly PassedOver[];
  /** `trace_id` and `span_id`, where the trace is recorded. */
  trace: Readonly<Record<string, string>>;
};

type Allowance = { lines: number; countedAtMs: number; untold: number };

export class RefusalLog {
  #log: (line: Record<string, unknown>) => void;
  /** By reason, of which there are as many as there are kinds of problems. */
  #allowances = new Map<string, Allowance>();

  constructor(log: (line: Record<string, unknown>) => void) {
    this.#log = log;
  }

  refused({ reason, status, route, home, from, passedOver, trace }: RefusedRequest, nowMs: number) {
    const allowance = this.#allowanceOf(reason, nowMs);
    if (allowance.lines < 1) {
      allowance.untold++;
      return;
    }
    allowance.lines--;
    const { untold } = allowance;
    allowance.untold = 0;
    this.#log({
      level: status >= 500 ? 'warn' : 'info',
      event: 'refused',
      reason,
      status,
      ...(route !== undefined && { method: route.method, route: route.pattern }),
      ...(home !== undefined && { home }),
      ...(from !== undefined && { from }),
      ...(passedOver.length > 0 && {
        passed_over: passedOver.map(({ node, because }) => `${node}:${because}`),
      }),
      ...(untold > 0 && { untold }),
      ...trace,
    });
  }

  #allowanceOf(reason: string, nowMs: number): Allowance {
    let allowance = this.#allowances.get(reason);
    if (allowance === undefined) {
      allowance = { lines: LINES_AT_ONCE_MAX, countedAtMs: nowMs, untold: 0 };
      this.#allowances.set(reason, allowance);
    }
    const earned = (nowMs - allowance.countedAtMs) / LINE_EVERY_MS;
    allowance.lines = Math.min(LINES_AT_ONCE_MAX, allowance.lines + earned);
    allowance.countedAtMs = nowMs;
    return allowance;
  }
}
