/**
 * What do two regions notice when the third becomes a black hole?
 *
 * Reads and writes of us and asia, each at home, while a constant stream of requests for people of
 * eu comes to their edges: with eu well, with every process of eu stopped, and after it went on.
 * Then one edge alone, asked for several times what it can do, with shedding and without. Latencies
 * are told as ratios to the first phase, and to the edge at its own pace.
 */
import { readFileSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { inThrowAwayWorld } from '../router/throw-away-world.ts';
import type { World } from '../router/world.ts';
import { cpuTimeUs } from './cpu-time.ts';
import { edgeOf, FILES } from './measured-world.ts';
import { round } from './ratio.ts';

type Figures = { count: number; p50Ms: number; p99Ms: number; answers: Answers };
type Phase = 'before' | 'during' | 'after';
type Work = 'read' | 'write';

export type Dark = {
  phases: Record<string, Record<Phase, Figures> & { p50Ratio: number; p99Ratio: number }>;
  /** Requests for eu while it was dark. */
  forEu: Record<string, Figures>;
  overload: Record<string, Step[]>;
};
type Answers = Record<string, number>;
type Step = {
  times: number;
  askedPerSecond: number;
  servedPerSecond: number;
  refusedPerSecond: number;
  servedP50Ratio: number;
  servedP99Ratio: number;
  /** Processor time of the edge, in microseconds. */
  cpuUsPerRequest: number;
  edgeMiB: number;
};

const REGIONS = ['us', 'asia'] as const;
const COUNTRY: Record<string, string> = { us: 'US', eu: 'DE', asia: 'JP' };
/** Of people of eu, at each of the two edges. */
const FOR_EU_PER_SECOND = 50;
/** What waits for an answer at once; beyond it the load would measure itself. */
const OPEN_MAX = 1_000;
const TIMES = [1, 2, 4, 10];
/** Two connections and transactions of so many milliseconds. */
const CONNECTIONS = 2;
const TRANSACTION_MS = 20;

export type DarkOptions = {
  seconds: number;
  report: (line: string) => void;
  signal: AbortSignal;
};

export async function measureDark(options: DarkOptions): Promise<Dark> {
  const { report, signal } = options;
  const world = { wan: false, durable: false, files: FILES, report, signal };
  const dark = await inThrowAwayWorld(world, (running) => blackHole(running, options));
  const overload: Dark['overload'] = {};
  const shortage = { DOMICILE_CONNECTIONS_MAX: String(CONNECTIONS) };
  const variants = {
    shedding: shortage,
    // As long a line as the budget bears, which is what a deadline alone would leave.
    waiting: { ...shortage, DOMICILE_QUEUE_MS_MAX: '60000' },
  };
  for (const [name, edgeSettings] of Object.entries(variants)) {
    overload[name] = await inThrowAwayWorld({ ...world, edgeSettings }, (running) =>
      overloaded(running, name, options),
    );
  }
  return { ...dark, overload };
}

async function blackHole(
  world: World,
  { seconds, report }: DarkOptions,
): Promise<Omit<Dark, 'overload'>> {
  const tokens = new Map<string, string>();
  for (const home of [...REGIONS, 'eu']) tokens.set(home, await signUp(world, home));
  const signalEu = (name: 'SIGSTOP' | 'SIGCONT') => {
    for (const node of ['eu-a', 'eu-b']) world.clusters.kill(node, name);
    world.edges.get('edge-eu')?.kill(name);
  };
  const seen = new Map<string, Timing[]>();
  const forEu = new Map<string, Timing[]>();
  const phase = async (name: string) => {
    const untilMs = performance.now() + seconds * 1_000;
    const lanes = REGIONS.flatMap((here) => [
      loop(
        untilMs,
        4,
        () => ask(world, here, here, 'read', tokens),
        into(seen, `${here} read ${name}`),
      ),
      loop(
        untilMs,
        1,
        () => ask(world, here, here, 'write', tokens),
        into(seen, `${here} write ${name}`),
      ),
      stream(
        untilMs,
        FOR_EU_PER_SECOND,
        () => ask(world, here, 'eu', 'read', tokens),
        into(forEu, `${here} ${name}`),
      ),
    ]);
    await Promise.all(lanes);
  };
  await phase('warm-up');
  await phase('before');
  signalEu('SIGSTOP');
  try {
    await phase('during');
  } finally {
    signalEu('SIGCONT');
  }
  await phase('after');
  const phases: Dark['phases'] = {};
  for (const here of REGIONS) {
    for (const work of ['read', 'write'] as Work[]) {
      const of = (name: Phase) => figures(seen.get(`${here} ${work} ${name}`) ?? []);
      const [before, during, after] = [of('before'), of('during'), of('after')];
      const p50Ratio = round(during.p50Ms / before.p50Ms);
      const p99Ratio = round(during.p99Ms / before.p99Ms);
      phases[`${here} ${work}`] = { before, during, after, p50Ratio, p99Ratio };
      report(
        `${here} ${work}: dark/before p50 ${p50Ratio}, p99 ${p99Ratio}; p99 ${before.p99Ms}, ${during.p99Ms}, ${after.p99Ms} ms; ${JSON.stringify([before, during, after].map(({ answers }) => answers))}`,
      );
    }
  }
  const told: Dark['forEu'] = {};
  for (const here of REGIONS) {
    const timings = forEu.get(`${here} during`) ?? [];
    const { p50Ms, p99Ms, answers } = figures(timings);
    told[here] = figures(timings);
    report(`for eu at ${here}: p50 ${p50Ms} ms, p99 ${p99Ms} ms, ${JSON.stringify(answers)}`);
  }
  return { phases, forEu: told };
}

async function overloaded(
  world: World,
  variant: string,
  { seconds, report }: DarkOptions,
): Promise<Step[]> {
  const tokens = new Map([['us', await signUp(world, 'us')]]);
  const slow = () =>
    call(edgeOf(world, 'us'), 'POST', `/users/dark-us/slow/${TRANSACTION_MS}`, tokens.get('us'));
  const closed: Timing[] = [];
  // What it can do: as many lanes as connections, each asking when it has its answer.
  await loop(performance.now() + seconds * 1_000, CONNECTIONS, slow, () => {});
  await loop(performance.now() + seconds * 1_000, CONNECTIONS, slow, (one) => closed.push(one));
  const capacity = closed.length / seconds;
  const pace = figures(closed);
  const steps: Step[] = [];
  for (const times of TIMES) {
    const timings: Timing[] = [];
    const pid = world.edges.get('edge-us')?.pid ?? 0;
    const cpuBeforeUs = cpuTimeUs(pid) ?? Number.NaN;
    await stream(performance.now() + seconds * 1_000, capacity * times, slow, (one) =>
      timings.push(one),
    );
    const served = timings.filter(({ answer }) => answer === '200');
    const { p50Ms, p99Ms } = figures(served);
    const step = {
      times,
      askedPerSecond: round(timings.length / seconds),
      servedPerSecond: round(served.length / seconds),
      refusedPerSecond: round((timings.length - served.length) / seconds),
      servedP50Ratio: round(p50Ms / pace.p50Ms),
      servedP99Ratio: round(p99Ms / pace.p99Ms),
      cpuUsPerRequest: Math.round(((cpuTimeUs(pid) ?? Number.NaN) - cpuBeforeUs) / timings.length),
      edgeMiB: residentMiB(pid),
    };
    steps.push(step);
    report(
      `${variant} at ${times}x: ${step.servedPerSecond}/s served, ${step.refusedPerSecond}/s not, latency of the served p50 ${step.servedP50Ratio}, p99 ${step.servedP99Ratio} times that at its own pace, ${step.cpuUsPerRequest} µs of the edge a request, ${JSON.stringify(answersOf(timings))}`,
    );
  }
  return steps;
}

type Timing = { ms: number; answer: string };

const agent = new Agent({ keepAlive: true, maxFreeSockets: OPEN_MAX });

function call(
  origin: string,
  method: string,
  path: string,
  token: string | undefined,
  body?: unknown,
) {
  const began = performance.now();
  const sent = body === undefined ? undefined : JSON.stringify(body);
  return new Promise<Timing & { token: string | undefined; text: string }>((resolve, reject) => {
    const sending = request(
      new URL(path, origin),
      {
        method,
        agent,
        headers: {
          ...(token !== undefined && { 'domicile-session': token }),
          ...(sent !== undefined && { 'content-type': 'application/json' }),
          'content-length': sent === undefined ? 0 : Buffer.byteLength(sent),
        },
      },
      (answer) => {
        let text = '';
        answer.on('data', (part) => {
          text += part;
        });
        answer.on('error', reject);
        answer.on('end', () => {
          const kind = /"type":"[^"#]*#([^"]+)"/.exec(text)?.[1];
          const where = /"where":"([^"]+)"/.exec(text)?.[1];
          const told = answer.headers['domicile-session'];
          resolve({
            ms: performance.now() - began,
            answer: [kind ?? answer.statusCode, where].filter(Boolean).join(' '),
            token: typeof told === 'string' ? told : undefined,
            text,
          });
        });
      },
    );
    sending.on('error', reject);
    sending.end(sent);
  });
}

async function signUp(world: World, home: string): Promise<string> {
  const body = { id: `dark-${home}`, country: COUNTRY[home] };
  const { token, text } = await call(edgeOf(world, home), 'POST', '/users', undefined, body);
  if (token === undefined) throw new Error(`no session: ${text}`);
  return token;
}

function ask(
  world: World,
  at: string,
  home: string,
  work: Work,
  tokens: ReadonlyMap<string, string>,
) {
  const method = work === 'read' ? 'GET' : 'POST';
  return call(edgeOf(world, at), method, `/users/dark-${home}`, tokens.get(home));
}

function into(map: Map<string, Timing[]>, name: string): (one: Timing) => void {
  const list: Timing[] = [];
  map.set(name, list);
  return ({ ms, answer }) => list.push({ ms, answer });
}

async function loop(
  untilMs: number,
  lanes: number,
  one: () => Promise<Timing>,
  keep: (timing: Timing) => void,
): Promise<void> {
  const lane = async () => {
    while (performance.now() < untilMs) keep(await one());
  };
  await Promise.all(Array.from({ length: lanes }, lane));
}

/** So many a second, whether or not the earlier ones are answered. */
async function stream(
  untilMs: number,
  perSecond: number,
  one: () => Promise<Timing>,
  keep: (timing: Timing) => void,
): Promise<void> {
  const open = new Set<Promise<void>>();
  let owed = 0;
  let lastAtMs = performance.now();
  while (performance.now() < untilMs) {
    await new Promise((resolve) => setTimeout(resolve, 5));
    owed += ((performance.now() - lastAtMs) / 1_000) * perSecond;
    lastAtMs = performance.now();
    for (; owed >= 1; owed--) {
      if (open.size >= OPEN_MAX) continue;
      const asked = one()
        .then(keep)
        .finally(() => open.delete(asked));
      open.add(asked);
    }
  }
  await Promise.all(open);
}

function figures(timings: readonly Timing[]): Figures {
  const sorted = timings.map(({ ms }) => ms).sort((a, b) => a - b);
  const at = (part: number) => round(sorted[Math.floor(part * (sorted.length - 1))] ?? Number.NaN);
  return { count: timings.length, p50Ms: at(0.5), p99Ms: at(0.99), answers: answersOf(timings) };
}

function answersOf(timings: readonly Timing[]): Answers {
  const answers: Answers = {};
  for (const { answer } of timings) answers[answer] = (answers[answer] ?? 0) + 1;
  return answers;
}

/** Linux only; elsewhere 0. */
function residentMiB(pid: number): number {
  try {
    const kib = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
    return Math.round(Number(kib) / 1024);
  } catch {
    return 0;
  }
}
