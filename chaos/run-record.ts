/**
 * What is kept of one chaos run?
 *
 * Everything that its report shows, as JSON, so that a report can be drawn again and a verdict be
 * contested. Times are milliseconds since the run began unless a name says otherwise.
 */
import type { History } from './history.ts';

export type Verdict = 'holds' | 'broken' | 'inconclusive';

export type Violation = {
  /** The promise that is broken, in the words of docs/guarantees.md. */
  promise: string;
  /** What contradicts what, in a sentence that names values, clients and times. */
  says: string;
  /** The operations that contradict each other, by id. */
  operations: readonly number[];
};

export type Judgement = {
  /** Name of the judge, such as `linearizable`. */
  judge: string;
  verdict: Verdict;
  /** How many operations it looked at; a judge that saw none is inconclusive. */
  checked: number;
  violations: readonly Violation[];
  /** Why a verdict is inconclusive. */
  why?: string;
  /** Anomalies that were found and are promised away by nobody; they take no part in the verdict. */
  apart?: readonly Violation[];
};

/** A fault while it lasted. */
export type FaultSpan = {
  /** In words: `partition between us and eu`, `SIGKILL to the primary of eu (eu-a)`. */
  says: string;
  kind: string;
  /** Regions that it concerns. */
  regions: readonly string[];
  fromMs: number;
  /** Undefined: a kill, which is over at once. */
  untilMs?: number;
  /** What shows that it bit; undefined: nothing did. */
  evidence?: string;
};

/** What an onlooker saw of one region at a time; it takes no part in the verdict. */
export type Look = {
  atMs: number;
  region: string;
  primary?: string;
  timeline?: number;
  /** Whether commits wait for nobody. */
  alone?: boolean;
  /** By replica: bytes that it has yet to replay. */
  lagBytes?: Readonly<Record<string, number>>;
  /** How many connections to servers its edge has opened so far. */
  opened?: number;
  /** By home: how old its edge believes the region's copies of it to be. */
  copyAgeMs?: Readonly<Record<string, number>>;
};

export type Incident = { atMs: number; region?: string; says: string };

export type RunRecord = {
  format: 1;
  scenario: string;
  claim: string;
  seed: number;
  /** The command that repeats it. */
  command: string;
  /** What of the run does not follow from the seed. */
  notRepeated: string;
  startedAt: string;
  durationMs: number;
  regions: readonly {
    id: string;
    title: string;
    edges: readonly string[];
    nodes: readonly string[];
  }[];
  toxiproxy: string;
  faults: readonly FaultSpan[];
  /** Promotions, switchovers, ends and starts of processes, policy versions. */
  incidents: readonly Incident[];
  looks: readonly Look[];
  history: History;
  /** Whether the faults did what they claim; a run that no fault touched proves nothing. */
  bit: { bit: boolean; evidence: readonly string[] };
  judgements: readonly Judgement[];
  /** `void`: no fault bit. */
  verdict: Verdict | 'void';
};
