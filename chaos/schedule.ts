/**
 * Which faults come when?
 *
 * From a scenario and a seed, or from a file that somebody wrote or a storm left behind.
 */
import * as z from 'zod';
import { hampered } from './bite.ts';
import { MIXES, type MixName } from './clients/mixes.ts';
import type { Fault, Schedule } from './faults/fault.ts';
import type { Draw, Scenario } from './scenario.ts';
import { seededRandom } from './toxiproxy/seeded-random.ts';

export function scheduleOf(scenario: Scenario, seed: number): Schedule {
  return scenario.schedule(drawFrom(seed));
}

export function drawFrom(seed: number): Draw {
  const random = seededRandom(seed);
  return (low, high) => low + Math.floor(random() * (high - low + 1));
}

/** A schedule with what is needed to play it. */
export type ScheduleFile = {
  format: 1;
  mix: MixName;
  seconds: number;
  wan: boolean;
  seed: number;
  schedule: Schedule;
};

const Role = z.enum(['primary', 'replica', 'airlock', 'edge', 'keeper']);
const Place = z.union([
  z.strictObject({ region: z.string(), role: Role.optional() }),
  z.strictObject({ name: z.string() }),
]);
const links = z.strictObject({
  from: Place.optional(),
  to: Place.optional(),
  bothWays: z.boolean().optional(),
});
const direction = z.enum(['upstream', 'downstream', 'both']).optional();
const ms = z.int().min(1).max(3_600_000);
const bytes = z
  .int()
  .min(1)
  .max(2 ** 31);
const AFault = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('cut'), links }),
  z.strictObject({ kind: z.literal('hole'), links, direction }),
  z.strictObject({ kind: z.literal('slow'), links, latencyMs: ms, jitterMs: ms.optional() }),
  z.strictObject({ kind: z.literal('narrow'), links, kBps: bytes, direction }),
  z.strictObject({ kind: z.literal('reset'), links, afterMs: z.int().min(0).max(60_000) }),
  z.strictObject({ kind: z.literal('limit'), links, bytes, direction }),
  z.strictObject({ kind: z.literal('slice'), links, bytes, delayUs: z.int().min(0) }),
  z.strictObject({
    kind: z.literal('flap'),
    links,
    how: z.enum(['cut', 'hole']),
    upMs: ms,
    downMs: ms,
  }),
  z.strictObject({ kind: z.literal('kill'), who: Place, startAgain: z.boolean().optional() }),
  z.strictObject({ kind: z.literal('freeze'), who: Place }),
  z.strictObject({ kind: z.literal('stutter'), who: Place, stopMs: ms, goMs: ms }),
  z.strictObject({ kind: z.literal('pause-replay'), region: z.string() }),
  z.strictObject({ kind: z.literal('clock'), who: Place, byMs: z.int() }),
  z.strictObject({ kind: z.literal('switchover'), region: z.string() }),
  z.strictObject({ kind: z.literal('accept-loss'), region: z.string() }),
  z.strictObject({ kind: z.literal('refill'), region: z.string() }),
  z.strictObject({ kind: z.literal('policy'), change: z.string() }),
]);
const File = z.strictObject({
  format: z.literal(1),
  mix: z.enum(Object.keys(MIXES) as [MixName, ...MixName[]]),
  seconds: z.int().min(1).max(86_400),
  wan: z.boolean(),
  seed: z.int().min(0),
  schedule: z
    .array(z.strictObject({ atMs: z.int().min(0), forMs: ms.optional(), fault: AFault }))
    .min(1),
});

export function readScheduleFile(text: string): ScheduleFile | { complaint: string } {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    return { complaint: `is not JSON: ${(error as Error).message}` };
  }
  const read = File.safeParse(json);
  if (!read.success) return { complaint: z.prettifyError(read.error) };
  const schedule = read.data.schedule.map(({ atMs, forMs, fault }) => ({
    atMs,
    ...(forMs !== undefined && { forMs }),
    fault: fault as Fault,
  }));
  return { ...read.data, schedule };
}

/** Several regions may have to find their roles anew at the same time. */
const SERVED_AGAIN_SECONDS = 20;

/** A file as a scenario of its own. */
export function replayed({ mix, seconds, wan, schedule }: ScheduleFile): Scenario {
  return {
    name: 'replay',
    claim: 'Whatever this schedule does, every promise holds.',
    mix,
    seconds,
    wan,
    schedule: () => schedule,
    bit: (seen) => hampered(seen),
    partly: true,
    servedAgainWithinSeconds: SERVED_AGAIN_SECONDS,
  };
}
