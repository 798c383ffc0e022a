/**
 * What can an audit say?
 *
 * A finding is something that is not as the policy wants it. A check or a channel that could not
 * be looked at is neither clean nor a finding: it is said apart.
 */
import type { MayHold, PlacedCanary } from '../../policies/may-hold.ts';
import type { Encoding } from './canary-encodings.ts';

export type FindingKind =
  | 'catalogue-differs'
  | 'row-without-resident'
  | 'resident-without-entry'
  | 'resident-elsewhere'
  | 'resident-key-wrong'
  | 'entry-without-resident'
  | 'directory-copy-differs'
  | 'canary-where-policy-keeps-it'
  | 'peer-let-in'
  | 'setting-leaks'
  | 'setting-unbounded'
  | 'setting-unsafe'
  | 'secret-inline'
  | 'receipts';

export type Finding = {
  kind: FindingKind;
  region: string;
  /** The cluster, table, file or object. */
  at: string;
  /** The whole in one sentence, without personal data: subjects are named by their directory key. */
  words: string;
};

export type Check = {
  name: string;
  /** How many things were looked at: rows, settings, objects. */
  looked: number;
  /** Why it could not be done, or not to the end; undefined when it was. */
  because: string | undefined;
};

export type ChannelReport = {
  name: string;
  positiveControl: boolean;
  /** Canaries found where the policy does not allow them, each once for each file or object. */
  hits: number;
  /** Canaries found where they may be. */
  expected: number;
  bytes: number;
  because: string | undefined;
};

export type CanaryTrace = {
  canary: PlacedCanary;
  at: string;
  offset: number;
  encodings: readonly Encoding[];
  times: number;
  verdict: MayHold;
};

export type AuditResult = {
  findings: readonly Finding[];
  checks: readonly Check[];
  channels: readonly ChannelReport[];
  /** What was written and searched for. Removed again, or named in `left`. */
  canaries: readonly { text: string; home: string; columns: readonly string[] }[];
  /** Canary subjects that could not be removed. */
  left: readonly string[];
  /** What the caller asked not to look at. */
  leftOut: readonly string[];
};

export type Verdict = 'clean' | 'findings' | 'could-not-look';

export function verdictOf({ findings, checks, channels }: AuditResult): Verdict {
  if (findings.length > 0) return 'findings';
  const blind =
    checks.some(({ because }) => because !== undefined) ||
    channels.some(({ positiveControl, because }) => !positiveControl || because !== undefined);
  return blind ? 'could-not-look' : 'clean';
}

/** Of the command that made the audit. */
export const EXIT_CODE: Record<Verdict, 0 | 1 | 2> = {
  clean: 0,
  findings: 1,
  'could-not-look': 2,
};
