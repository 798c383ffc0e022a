/**
 * What does every judge say of a history?
 *
 * Always all of them, in one order: a judge that had nothing to look at says so.
 */
import type { History } from '../history.ts';
import type { Judgement } from '../run-record.ts';
import { acknowledged } from './acknowledged.ts';
import { type AvailabilityOptions, availability } from './availability.ts';
import { type CyclesOptions, cycles } from './cycles.ts';
import { exactlyOnce } from './exactly-once.ts';
import { type LinearizableOptions, linearizable } from './linearizable.ts';
import { type LivenessOptions, liveness } from './liveness.ts';
import { type OneEpochOptions, oneEpoch } from './one-epoch.ts';
import { sessionGuarantees } from './session-guarantees.ts';
import { type StalenessOptions, staleness } from './staleness.ts';
import { stock } from './stock.ts';

export type JudgeOptions = LinearizableOptions &
  CyclesOptions &
  StalenessOptions &
  LivenessOptions &
  AvailabilityOptions &
  OneEpochOptions;

export function judgeAll(history: History, options: JudgeOptions = {}): Judgement[] {
  return [
    acknowledged(history),
    sessionGuarantees(history),
    linearizable(history, options),
    cycles(history, options),
    staleness(history, options),
    exactlyOnce(history),
    stock(history),
    oneEpoch(history, options),
    liveness(history, options),
    availability(history, options),
  ];
}
