/**
 * What does one run of a scenario leave behind?
 *
 * A world that is well, clients at all edges, the faults at their times, everything healed, the last
 * reads; then the judges, who see the history and nothing else.
 */
import { setTimeout as pause } from 'node:timers/promises';
import type { Announcer } from './announcer.ts';
import { type Clients, startClients } from './clients/start-clients.ts';
import { Breaking } from './faults/breaking.ts';
import type { Schedule } from './faults/fault.ts';
import { judgeForeignBytes } from './foreign-bytes/judge-foreign-bytes.ts';
import type { History } from './history.ts';
import { judgeOptionsOf } from './judge-options.ts';
import type { JudgeOptions } from './judges/all.ts';
import { Onlooker } from './onlooker.ts';
import { type Played, play } from './play.ts';
import type { Judgement, RunRecord } from './run-record.ts';
import type { Scenario, Seen } from './scenario.ts';
import { ChaosError, type ChaosWorld } from './world.ts';

export type RunOptions = {
  scenario: Scenario;
  schedule: Schedule;
  seed: number;
  world: ChaosWorld;
  /** Monotonic milliseconds. */
  clock: () => number;
  startedAt: string;
  /** Begins the names of users; no other run in this world has it. */
  run: string;
  /** The command that repeats it. */
  command: string;
  judge: (history: History, options: JudgeOptions) => readonly Judgement[];
  report: (line: string) => void;
  signal: AbortSignal;
};

/** After a start or a fault: a standby is copied, feeds find their place, on a busy machine. */
const WELL_MS_MAX = 90_000;
/** Circuits close, a standby is copied, nodes are found again. */
const SERVED_AGAIN_SECONDS = 8;
/** So long clients go on when everybody is to be served again. */
const AFTER_MS = 4_000;
const ALWAYS: ReadonlySet<string> = new Set(['acknowledged', 'session-guarantees', 'liveness']);
const SETTLE_MS_MAX = 60_000;
const NOT_REPEATED =
  'What each client asks, and when each fault begins, follows from the seed. How requests of several clients fall between each other, and how long servers take, does not.';

/** @throws ChaosError when the world is not well before the first fault. */
export async function run(options: RunOptions): Promise<RunRecord> {
  const { scenario, world, report, signal } = options;
  const sick = await world.untilWell(WELL_MS_MAX, signal);
  if (sick !== undefined) throw new ChaosError(`The world is not well to begin with: ${sick}.`);
  signal.throwIfAborted();
  const beganAtMs = options.clock();
  const now = () => options.clock() - beganAtMs;
  const clients = await startClients({
    edges: new Map(world.regions.map((region) => [region, world.edgesOf(region)])),
    seed: options.seed,
    now,
    mix: scenario.mix,
    ...(scenario.restMsMax !== undefined && { restMsMax: scenario.restMsMax }),
    run: options.run,
  });
  const announcer = world.announcer(`${options.startedAt} ${options.run}`);
  announcer.say({ kind: 'start', name: scenario.name });
  // The first users are there, which may take long on a busy machine; now clients get warm.
  const looseAtMs = now();
  const onlooker = new Onlooker(world, now);
  onlooker.start();
  const breaking = new Breaking(world);
  const graceMs = 1_000 * (scenario.servedAgainWithinSeconds ?? SERVED_AGAIN_SECONDS);
  let left: Left;
  try {
    left = await underLoad({ ...options, now, looseAtMs, clients, breaking, graceMs, announcer });
  } catch (error) {
    announcer.say({ kind: 'end', verdict: 'ended early' });
    throw error;
  } finally {
    try {
      await breaking.healAll();
    } finally {
      await clients.stop();
      await onlooker.stop();
    }
  }
  const { played, history, stillSick } = left;
  const { looks } = onlooker;
  const incidents = [...onlooker.incidents, ...left.played.incidents];
  const seen: Seen = { operations: history.operations, faults: played.spans, looks, incidents };
  report(`${history.operations.length} operations; judging`);
  const { healedAtMs } = left;
  const judged = options.judge(
    history,
    judgeOptionsOf({
      scenario,
      faults: played.spans,
      looks,
      regions: world.regions,
      beganAtMs: looseAtMs,
      healedAtMs,
      graceMs,
    }),
  );
  const onDisk = { root: world.root, catalogue: world.catalogue, markers: clients.marks() };
  const judgements = [...judged, await judgeForeignBytes(onDisk), recovered(stillSick)];
  const bit = bitten(scenario, seen, played);
  const verdict = verdictOf(judgements, bit.bit);
  announcer.say({ kind: 'end', verdict });
  await announcer.done();
  return {
    format: 1,
    scenario: scenario.name,
    claim: scenario.claim,
    seed: options.seed,
    command: options.command,
    notRepeated: NOT_REPEATED,
    startedAt: options.startedAt,
    durationMs: now(),
    regions: [...world.catalogue.regions.values()].map(({ id, title, edges, nodes }) => ({
      id,
      title,
      edges: edges.map(({ name }) => name),
      nodes: nodes.map(({ name }) => name),
    })),
    toxiproxy: world.toxiproxy,
    faults: played.spans,
    incidents: incidents.toSorted((a, b) => a.atMs - b.atMs),
    looks: looks.toSorted((a, b) => a.atMs - b.atMs),
    history,
    bit,
    judgements,
    verdict,
  };
}

type Left = {
  played: Played;
  history: History;
  stillSick: string | undefined;
  healedAtMs: number;
};

async function underLoad(
  options: RunOptions & {
    now: () => number;
    looseAtMs: number;
    clients: Clients;
    breaking: Breaking;
    graceMs: number;
    announcer: Announcer;
  },
): Promise<Left> {
  const { scenario, world, report, signal, now, looseAtMs, clients, breaking, announcer } = options;
  const { regions } = world;
  const schedule = options.schedule.map((one) => ({ ...one, atMs: looseAtMs + one.atMs }));
  const played = await play(schedule, { breaking, regions, now, report, signal, announcer });
  const healedAtMs = now();
  const goesOnUntilMs = Math.max(
    looseAtMs + scenario.seconds * 1_000,
    healedAtMs + options.graceMs + AFTER_MS,
  );
  const leftMs = Math.max(0, goesOnUntilMs - now());
  await pause(leftMs, undefined, { signal }).catch(() => {});
  const stillSick = await world.untilWell(WELL_MS_MAX, signal);
  report(stillSick === undefined ? 'everything is healed' : `it does not recover: ${stillSick}`);
  const operations = await clients.stop();
  signal.throwIfAborted();
  const settled = await clients.settle({ withinMs: SETTLE_MS_MAX });
  const { acceptedLosses } = played;
  return { played, history: { operations, settled, acceptedLosses }, stillSick, healedAtMs };
}

/** The one judgement that is no client's: every region is as it should be again, by itself. */
function recovered(stillSick: string | undefined): Judgement {
  return {
    judge: 'recovers',
    verdict: stillSick === undefined ? 'holds' : 'broken',
    checked: 1,
    violations:
      stillSick === undefined
        ? []
        : [
            {
              promise: 'When faults are over, every region recovers without a person.',
              says: `${WELL_MS_MAX / 1_000} s after the last fault: ${stillSick}.`,
              operations: [],
            },
          ],
  };
}

function bitten(scenario: Scenario, seen: Seen, { spans, failures }: Played): RunRecord['bit'] {
  const idle = spans.filter(({ evidence }) => evidence === undefined);
  const felt = scenario.bit(seen);
  const missing = [
    ...failures,
    ...idle.map(({ says }) => `nothing shows that it was done: ${says}`),
    ...(felt.length === 0 ? ['nothing shows that the system felt it'] : []),
  ];
  const isDone =
    scenario.partly === true
      ? idle.length < spans.length
      : missing.length === 0 && spans.length > 0;
  const isBit = isDone && felt.length > 0;
  return { bit: isBit, evidence: isBit ? felt : missing };
}

function verdictOf(judgements: readonly Judgement[], bit: boolean): RunRecord['verdict'] {
  if (judgements.some(({ verdict }) => verdict === 'broken')) return 'broken';
  if (!bit) return 'void';
  // A judge of what no client did in this mix has nothing to say; these always have.
  const silent = (one: Judgement) => one.checked === 0 && !ALWAYS.has(one.judge);
  const decided = judgements.every((one) => one.verdict === 'holds' || silent(one));
  return decided ? 'holds' : 'inconclusive';
}
