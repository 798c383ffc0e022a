/**
 * `npm run mutants`: are the seeded mistakes still noticed?
 *
 * First everything that should notice them is run on the tree as it is: what fails there notices
 * nothing. Then each mistake is made in a copy, two at a time.
 */
import { execFileSync } from 'node:child_process';
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { type Killer, killerName, type Mutant, run, tryMutant, type Verdict } from './mutant.ts';
import { PRIMARY_REPLACED } from './primary-replaced.ts';
import { SESSION_CORE } from './session-core.ts';

const GROUPS: Readonly<Record<string, readonly Mutant[]>> = {
  'session-core': SESSION_CORE,
  'primary-replaced': PRIMARY_REPLACED,
};
const WORKERS = 2;
const TREE = resolve(import.meta.dirname, '../..');

const { values, positionals } = parseArgs({
  options: { json: { type: 'boolean', default: false } },
  allowPositionals: true,
  strict: false,
});
const options = Object.keys(values).filter((name) => name !== 'json');
if (options.length > 0) {
  console.error(
    `usage: npm run mutants -- [name or group ...] [--json]; there is no --${options[0]}`,
  );
  process.exit(2);
}

function chosen(): readonly Mutant[] {
  const all = Object.values(GROUPS).flat();
  if (positionals.length === 0) return all;
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
  roots: readonly string[],
  task: (item: T, root: string) => Promise<void>,
): Promise<void> {
  const queue = [...items];
  await Promise.all(
    roots.map(async (root) => {
      for (let item = queue.shift(); item !== undefined; item = queue.shift()) {
        await task(item, root);
      }
    }),
  );
}

function length({ killer }: Mutant): number {
  if (killer.kind === 'simulation') return killer.steps;
  return /\.(world|pg)\.test\.ts$/.test(killer.file) ? Number.MAX_SAFE_INTEGER : 0;
}

function say(line: string): void {
  if (!values.json) console.log(line);
}

function line({ name }: Mutant, verdict: Verdict): string {
  const took = verdict.kind === 'void' ? '' : `${(verdict.ms / 1_000).toFixed(1).padStart(6)} s`;
  const what =
    verdict.kind === 'killed'
      ? verdict.by
      : verdict.kind === 'survived'
        ? 'SURVIVED'
        : `VOID: ${verdict.why}`;
  return `${took.padEnd(8)}  ${name.padEnd(52)}  ${what}`;
}

async function main(): Promise<number> {
  const mutants = chosen();
  const roots = Array.from({ length: WORKERS }, copyOfTree);
  const verdicts = new Map<Mutant, Verdict>();
  try {
    const killers = new Map<string, Killer>(
      mutants.map(({ killer }) => [killerName(killer), killer]),
    );
    const failing: string[] = [];
    await inCopies([...killers], roots, async ([name, killer], root) => {
      const verdict = await run(killer, root);
      if (verdict.kind !== 'survived') failing.push(`${name}: ${JSON.stringify(verdict)}`);
    });
    if (failing.length > 0) {
      console.error(`mutants: without any mistake these fail already:\n${failing.join('\n')}`);
      return 1;
    }
    say(`${killers.size} runs pass without a mistake; ${mutants.length} mistakes follow`);
    // Servers take longest, so they do not come last.
    const longestFirst = mutants.toSorted((a, b) => length(b) - length(a));
    await inCopies(longestFirst, roots, async (mutant, root) => {
      const verdict = await tryMutant(mutant, root);
      verdicts.set(mutant, verdict);
      say(line(mutant, verdict));
    });
  } finally {
    for (const root of roots) rmSync(root, { recursive: true, force: true });
  }
  const survivors = [...verdicts].filter(([, { kind }]) => kind !== 'killed');
  for (const [{ name, mistake, killer }] of survivors) {
    console.error(`not killed: ${name}: ${mistake} (${killerName(killer)})`);
  }
  const killed = verdicts.size - survivors.length;
  say(`${killed} of ${verdicts.size} killed`);
  if (values.json) {
    for (const [{ name }, verdict] of verdicts) console.log(JSON.stringify({ name, ...verdict }));
  }
  console.log(JSON.stringify({ killed, total: mutants.length }));
  return killed === mutants.length ? 0 : 1;
}

process.exitCode = await main();
