/**
 * `npm run mutants`: are the seeded mistakes still noticed?
 *
 * First everything that should notice them is run on the tree as it is: what fails there notices
 * nothing. Then each mistake is made in a copy, two at a time. Those of the group `chaos` take the
 * better part of an hour, one at a time, and are made only when they are asked for.
 */
import { execFileSync } from 'node:child_process';
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { SCENARIOS } from '../scenarios.ts';
import {
  type Copy,
  type Killer,
  killerName,
  type Mutant,
  run,
  tryMutant,
  type Verdict,
} from './mutant.ts';
import { mutantTable, rowOf } from './mutant-table.ts';
import { PRIMARY_REPLACED } from './primary-replaced.ts';
import { RunningWorld } from './running-world.ts';
import { SEEN_FROM_OUTSIDE } from './seen-from-outside.ts';
import { SESSION_CORE } from './session-core.ts';

const GROUPS: Readonly<Record<string, readonly Mutant[]>> = {
  'session-core': SESSION_CORE,
  'primary-replaced': PRIMARY_REPLACED,
  chaos: SEEN_FROM_OUTSIDE,
};
const WITHOUT_ASKING = [...SESSION_CORE, ...PRIMARY_REPLACED];
const WORKERS = 2;
/** The status of what a signal has ended. */
const EARLY = 130;
const TREE = resolve(import.meta.dirname, '../..');

const { values, positionals } = parseArgs({
  options: {
    json: { type: 'boolean', default: false },
    // For who has seen already that all holds without a mistake.
    'mistakes-only': { type: 'boolean', default: false },
    'at-once': { type: 'string' },
  },
  allowPositionals: true,
  strict: false,
});
const KNOWN = new Set(['json', 'mistakes-only', 'at-once']);
const unknown = Object.keys(values).filter((name) => !KNOWN.has(name));
const atOnce = values['at-once'];
if (unknown.length > 0 || (atOnce !== undefined && !/^[1-9]$/.test(String(atOnce)))) {
  const why = unknown.length > 0 ? `there is no --${unknown[0]}` : `--at-once is a digit`;
  const usage = '[name or group ...] [--json] [--mistakes-only] [--at-once <number>]';
  console.error(`usage: npm run mutants -- ${usage}; ${why}`);
  process.exit(2);
}

/** With the first signal everything that was started is ended; a second one leaves it as it is. */
const early = new AbortController();
for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(name, () => {
    if (early.signal.aborted) process.exit(130);
    console.error('mutants: ending what was started');
    early.abort();
  });
}

function chosen(): readonly Mutant[] {
  const all = Object.values(GROUPS).flat();
  if (positionals.length === 0) return WITHOUT_ASKING;
  return positionals.flatMap((name): readonly Mutant[] => {
    const found = GROUPS[name] ?? all.filter((mutant) => mutant.name === name);
    if (found.length > 0) return found;
    const groups = Object.keys(GROUPS).join(', ');
    console.error(`mutants: neither a group (${groups}) nor a mutant: ${JSON.stringify(name)}`);
    console.error(all.map((mutant) => `  ${mutant.name}`).join('\n'));
    return process.exit(2);
  });
}

/** The tree as it is now, changes that are not committed included. */
function copyOfTree(): string {
  const root = mkdtempSync(join(tmpdir(), 'domicile-mutants-'));
  // The servers of a test may run as another user.
  chmodSync(root, 0o711);
  const files = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard'], {
    cwd: TREE,
    encoding: 'utf8',
  });
  const deleted = new Set(
    execFileSync('git', ['ls-files', '--deleted'], { cwd: TREE, encoding: 'utf8' }).split('\n'),
  );
  for (const file of files.split('\n')) {
    if (file === '' || deleted.has(file)) continue;
    mkdirSync(dirname(join(root, file)), { recursive: true });
    copyFileSync(join(TREE, file), join(root, file));
  }
  symlinkSync(join(TREE, 'node_modules'), join(root, 'node_modules'));
  // Some tests ask git which files there are.
  execFileSync('git', ['init', '--quiet'], { cwd: root });
  return root;
}

/** Runs `task` for all items, each worker in a copy of its own. */
async function inCopies<T>(
  items: readonly T[],
  copies: readonly Copy[],
  task: (item: T, copy: Copy) => Promise<void>,
): Promise<void> {
  const queue = [...items];
  await Promise.all(
    copies.map(async (copy) => {
      for (let item = queue.shift(); item !== undefined; item = queue.shift()) {
        if (copy.signal.aborted) return;
        await task(item, copy);
      }
    }),
  );
}

const SECONDS = new Map(SCENARIOS.map(({ name, seconds }) => [name, seconds]));

function length({ killer }: Mutant): number {
  if (killer.kind === 'simulation') return killer.steps;
  if (killer.kind === 'scenario') return SECONDS.get(killer.scenario) ?? 0;
  return /\.(world|pg)\.test\.ts$/.test(killer.file) ? Number.MAX_SAFE_INTEGER : 0;
}

function say(line: string): void {
  if (!values.json) console.log(line);
}

function line({ name }: Mutant, verdict: Verdict): string {
  return `${secondsOf(verdict).padEnd(8)}  ${name.padEnd(52)}  ${inWords(verdict, 'SURVIVED')}`;
}

function secondsOf(verdict: Verdict): string {
  return verdict.kind === 'void' ? '' : `${(verdict.ms / 1_000).toFixed(1).padStart(6)} s`;
}

function inWords(verdict: Verdict, survived: string): string {
  if (verdict.kind === 'killed') return verdict.by;
  return verdict.kind === 'survived' ? survived : `VOID: ${verdict.why}`;
}

async function main(): Promise<number> {
  const mutants = chosen();
  // A running system has use for all of a machine.
  const isSlow = mutants.some(({ killer }) => killer.kind === 'scenario');
  const workers = atOnce === undefined ? (isSlow ? 1 : WORKERS) : Number(atOnce);
  const copies = Array.from({ length: workers }, (): Copy => {
    const root = copyOfTree();
    return { root, world: new RunningWorld(root), signal: early.signal };
  });
  const verdicts = new Map<Mutant, Verdict>();
  try {
    const killers = new Map<string, Killer>(
      mutants.map(({ killer }) => [killerName(killer), killer]),
    );
    const failing: string[] = [];
    const untouched = values['mistakes-only'] ? [] : [...killers];
    await inCopies(untouched, copies, async ([name, killer], copy) => {
      const verdict = await run(killer, copy);
      if (copy.signal.aborted) return;
      if (killer.kind === 'scenario') say(`${name}: ${inWords(verdict, 'holds')}`);
      if (verdict.kind !== 'survived') failing.push(`${name}: ${JSON.stringify(verdict)}`);
    });
    if (early.signal.aborted) return EARLY;
    if (failing.length > 0) {
      console.error(`mutants: without any mistake these fail already:\n${failing.join('\n')}`);
      return 1;
    }
    if (untouched.length > 0) say(`${killers.size} runs pass without a mistake`);
    say(`${mutants.length} mistakes follow`);
    // Servers take longest, so they do not come last.
    const longestFirst = mutants.toSorted((a, b) => length(b) - length(a));
    await inCopies(longestFirst, copies, async (mutant, copy) => {
      const verdict = await tryMutant(mutant, copy);
      if (copy.signal.aborted) return;
      verdicts.set(mutant, verdict);
      say(line(mutant, verdict));
    });
  } finally {
    await Promise.all(copies.map(({ world }) => world.end()));
    for (const { root } of copies) rmSync(root, { recursive: true, force: true });
  }
  const survivors = [...verdicts].filter(([, { kind }]) => kind !== 'killed');
  for (const [{ name, mistake, killer }] of survivors) {
    console.error(`not killed: ${name}: ${mistake} (${killerName(killer)})`);
  }
  const tried = early.signal.aborted ? mutants.filter((one) => verdicts.has(one)) : mutants;
  if (tried.length < mutants.length) {
    console.error(`mutants: ended early, ${mutants.length - tried.length} were not tried`);
  }
  const rows = tried.map((mutant) => rowOf(mutant, verdicts.get(mutant)));
  if (rows.length > 0) for (const row of mutantTable(rows)) say(row);
  const killed = rows.filter(({ caught }) => caught).length;
  say(`${killed} of ${rows.length} caught`);
  if (values.json) for (const row of rows) console.log(JSON.stringify(row));
  console.log(JSON.stringify({ killed, total: mutants.length }));
  if (early.signal.aborted) return EARLY;
  return killed === mutants.length ? 0 : 1;
}

process.exitCode = await main();
