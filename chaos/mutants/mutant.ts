/**
 * Would anybody notice this mistake?
 *
 * A mutant is the source tree with one mistake in it, made in a copy. What should notice it is run
 * there: simulated worlds, tests by name, or a running system under chaos, which is judged from
 * outside. A mistake that can no longer be made as it is written
 * down is an error, not a pass.
 */
import { spawn } from 'node:child_process';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { RunningWorld } from './running-world.ts';

export type Killer =
  | { kind: 'simulation'; steps: number; seed: number }
  /** `test` is a part of its name; without it the whole file. */
  | { kind: 'test'; file: string; test?: string }
  /** Of `npm run chaos`; with `judge` that one has to be among those who object. */
  | { kind: 'scenario'; scenario: string; seed: number; judge?: string };

export type Mutant = {
  name: string;
  /** What the mistake is, in a sentence. */
  mistake: string;
  file: string;
  /** Occurs once in the file. */
  find: string;
  replace: string;
  killer: Killer;
};

export type Verdict =
  | { kind: 'killed'; by: string; ms: number }
  | { kind: 'survived'; ms: number }
  /** Neither: the run itself went wrong, and says why. */
  | { kind: 'void'; why: string };

/** Worlds that end in a loop, or servers that never start. */
const RUN_MS_MAX = 300_000;
/** Besides the scenario, a start of nine servers and a wait for what does not recover. */
const SCENARIO_MS_MAX = 480_000;
/** For whoever has servers to end. */
const END_MS_MAX = 90_000;

/** The file with the mistake in it. @throws Error when the place is not there exactly once. */
export function mistaken(text: string, { name, file, find, replace }: Mutant): string {
  const parts = text.split(find);
  if (parts.length !== 2) {
    throw new Error(
      `${name}: its text occurs ${parts.length - 1} times in ${file}, so this mutant has rotted`,
    );
  }
  if (find === replace) throw new Error(`${name}: changes nothing`);
  return parts.join(replace);
}

/** A copy of the tree, what stands while mistakes are made in it, and what ends all of it early. */
export type Copy = { root: string; world: RunningWorld; signal: AbortSignal };

/** Makes the mistake in the copy, runs what should notice it, and takes it back. */
export async function tryMutant(mutant: Mutant, copy: Copy): Promise<Verdict> {
  const { root } = copy;
  // Without the mistake, which may be one that keeps a world from starting.
  if (mutant.killer.kind === 'scenario') await copy.world.stands();
  const path = join(root, mutant.file);
  const text = readFileSync(path, 'utf8');
  writeFileSync(path, mistaken(text, mutant));
  try {
    return await run(mutant.killer, copy);
  } finally {
    writeFileSync(path, text);
  }
}

export function killerName(killer: Killer): string {
  if (killer.kind === 'simulation') return `${killer.steps} steps from seed ${killer.seed}`;
  if (killer.kind === 'scenario') return `${killer.scenario} from seed ${killer.seed}`;
  return killer.test === undefined ? killer.file : `${killer.file}, "${killer.test}"`;
}

export async function run(killer: Killer, copy: Copy): Promise<Verdict> {
  const verdict = await judged(killer, copy);
  // What was stopped half way was noticed by nobody.
  return copy.signal.aborted ? { kind: 'void', why: 'ended early' } : verdict;
}

async function judged(killer: Killer, { root, world, signal }: Copy): Promise<Verdict> {
  const startedAtMs = performance.now();
  const took = () => performance.now() - startedAtMs;
  switch (killer.kind) {
    case 'simulation': {
      const { steps, seed } = killer;
      const main = ['policies/simulation/main.ts', '--json', `--steps=${steps}`, `--seed=${seed}`];
      const ended = await ending(process.execPath, main, { root, signal });
      if (ended.kind === 'late') return { kind: 'killed', by: 'it does not end', ms: took() };
      const lines = ended.output.trim().split('\n').map(readJson);
      const last = lines.at(-1);
      if (typeof last?.violations !== 'number') return { kind: 'void', why: tail(ended.output) };
      if (ended.code === 0) return { kind: 'survived', ms: took() };
      const broken = lines.flatMap((line) => line?.broken ?? []);
      const idle = lines.flatMap((line) => line?.idle ?? []);
      return { kind: 'killed', by: broken[0]?.promise ?? idle[0] ?? 'nothing', ms: took() };
    }
    case 'scenario': {
      const { scenario, seed, judge } = killer;
      const standing = await world.startedAnew();
      if (standing === undefined) return { kind: 'void', why: 'the world does not start' };
      const main = ['chaos/main.ts', scenario, `--seed=${seed}`, '--json', `--root=${standing}`];
      const ended = await ending(process.execPath, main, {
        ...{ root, signal },
        msMax: SCENARIO_MS_MAX,
      });
      if (ended.kind === 'late') return { kind: 'void', why: 'it does not end' };
      const result: Printed | undefined = ended.output
        .split('\n')
        .map(readJson)
        .findLast((one) => one?.verdict);
      // What a mistake has left behind is nobody else's business.
      const isSick = objections(result?.violations).some(({ judge: one }) => one === 'recovers');
      if (isSick || result?.verdict === undefined || result.verdict === 'void') await world.end();
      switch (result?.verdict) {
        case 'holds':
          return { kind: 'survived', ms: took() };
        case 'broken': {
          const judges = [...new Set(objections(result.violations).map((one) => one.judge))];
          const by = judges.join(', ');
          return judge === undefined || judges.includes(judge)
            ? { kind: 'killed', by, ms: took() }
            : { kind: 'void', why: `broken, says ${by}, and not ${judge}` };
        }
        case undefined:
          return { kind: 'void', why: tail(ended.output) };
        default: {
          return { kind: 'void', why: undecidedText(result ?? {}) };
        }
      }
    }
    case 'test': {
      const filter = killer.test === undefined ? [] : ['-t', killer.test];
      const path = join(root, 'mutant-report.json');
      rmSync(path, { force: true });
      const vitest = ['node_modules/vitest/vitest.mjs', 'run', '--reporter=json'];
      const args = [...vitest, `--outputFile=${path}`, killer.file, ...filter];
      const ended = await ending(process.execPath, args, { root, signal });
      if (ended.kind === 'late') return { kind: 'killed', by: 'it does not end', ms: took() };
      const report = existsSync(path) ? readJson(readFileSync(path, 'utf8')) : undefined;
      const { numFailedTests: failed, numPassedTests: passed } = report ?? {};
      if (failed === undefined || passed === undefined || failed + passed === 0) {
        return { kind: 'void', why: tail(ended.output) };
      }
      if (failed === 0) return { kind: 'survived', ms: took() };
      const titles = (report?.testResults ?? [])
        .flatMap(({ assertionResults }) => assertionResults)
        .filter(({ status }) => status === 'failed');
      return { kind: 'killed', by: titles[0]?.title ?? 'a test', ms: took() };
    }
  }
}

/** What the kinds of runs print, as far as it is used here. */
type Printed = {
  violations?: number | { judge: string }[];
  verdict?: string;
  why?: string;
  evidence?: string[];
  inconclusive?: { judge: string; why?: string; checked?: number }[];
  broken?: { promise: string }[];
  idle?: string;
  numFailedTests?: number;
  numPassedTests?: number;
  testResults?: { assertionResults: { title: string; status: string }[] }[];
};

function readJson(line: string): Printed | undefined {
  try {
    return JSON.parse(line) as Printed;
  } catch {
    return undefined;
  }
}

/** Without judges that had nothing to look at: most scenarios have some. */
function undecidedText({ verdict = '', why, evidence = [], inconclusive = [] }: Printed): string {
  if (why !== undefined) return `${verdict}: ${why}`;
  const undecided = inconclusive
    .filter(({ checked }) => checked !== 0)
    .map(({ judge, why: its = '' }) => `${judge}: ${its}`);
  return [verdict, ...(verdict === 'void' ? evidence : undecided)].join('; ');
}

function objections(violations: Printed['violations']): { judge: string }[] {
  return Array.isArray(violations) ? violations : [];
}

function tail(output: string): string {
  return output.trim().split('\n').slice(-5).join(' | ').slice(-500);
}

type Ending = { kind: 'ended'; code: number; output: string } | { kind: 'late' };

/** Runs a program to its end, or to the signal's; it has time to end what it started. */
function ending(
  command: string,
  args: readonly string[],
  { root, signal, msMax = RUN_MS_MAX }: Pick<Copy, 'root' | 'signal'> & { msMax?: number },
): Promise<Ending> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    const take = (chunk: Buffer) => {
      output += chunk.toString();
    };
    child.stdout.on('data', take);
    child.stderr.on('data', take);
    let isLate = false;
    const stop = () => {
      clearTimeout(timer);
      child.kill('SIGTERM');
      timer = setTimeout(() => child.kill('SIGKILL'), END_MS_MAX);
    };
    let timer = setTimeout(() => {
      isLate = true;
      stop();
    }, msMax);
    signal.addEventListener('abort', stop);
    if (signal.aborted) stop();
    child.on('error', reject);
    child.on('close', (code) => {
      clearTimeout(timer);
      signal.removeEventListener('abort', stop);
      resolve(isLate ? { kind: 'late' } : { kind: 'ended', code: code ?? -1, output });
    });
  });
}
