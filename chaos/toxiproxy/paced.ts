/**
 * How does a stage keep a steady pace on timers that are late?
 *
 * A timer fires up to a millisecond early and any time late. Each pause is shortened by what the
 * one before it overslept, up to `carryMsMax`, so that the mean is right. A stage that stood idle
 * has saved nothing.
 */
import type { Stage, Waiting } from './stage.ts';

export function paced(stage: Stage, carryMsMax: number): (ms: number) => Waiting<void> {
  let lateMs = 0;
  return function* pause(ms) {
    const startMs = stage.nowMs();
    const dueMs = startMs + ms - lateMs;
    const slept = yield* stage.sleep(dueMs - startMs);
    lateMs = slept === 'elapsed' ? Math.min(carryMsMax, stage.nowMs() - dueMs) : 0;
  };
}
