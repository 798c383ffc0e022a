/**
 * What is a scenario?
 *
 * A claim, what clients do meanwhile, the faults, and what shows that they bit. The judges are the
 * same for all: whatever happens, the promises hold.
 */
import type { Mix, MixName } from './clients/mixes.ts';
import type { Schedule } from './faults/fault.ts';
import type { Operation } from './history.ts';
import type { FaultSpan, Incident, Look } from './run-record.ts';

/** A whole number from `low` to `high`, from the seed. */
export type Draw = (low: number, high: number) => number;

/** What there is to see of a run when it is over. */
export type Seen = {
  operations: readonly Operation[];
  faults: readonly FaultSpan[];
  looks: readonly Look[];
  incidents: readonly Incident[];
};

export type Scenario = {
  /** As it is called on the command line. */
  name: string;
  /** What holds in spite of the faults, in a sentence. */
  claim: string;
  mix: MixName | Mix;
  /** A client rests up to so long before each operation; else as little as clients do. */
  restMsMax?: number;
  /** How long clients are at work; the last part of it is for what comes after the faults. */
  seconds: number;
  /** Whether the links between regions take their real time. */
  wan?: boolean;
  /** The same draws give the same schedule. */
  schedule: (draw: Draw) => Schedule;
  /** What shows that the system felt it, each in a sentence. Without any, the run proves nothing. */
  bit: (seen: Seen) => readonly string[];
  /** One fault that was done is enough: drawn ones may meet what another one has taken already. */
  partly?: boolean;
  /** By how much the clocks of two regions' servers may differ, for whoever judges ages; else not at all. */
  clocksDifferMs?: number;
  /** Seconds from the last fault's end until everybody is served again. */
  servedAgainWithinSeconds?: number;
};

/** Faults begin when clients are warm. */
export const WARM_MS = 4_000;
