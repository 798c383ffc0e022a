/**
 * `npm run chaos`: is a running Domicile still right while it is broken on purpose?
 *
 * Status 0: every claim holds. 1: one is broken. 2: asked for wrongly. 3: a run proves nothing, or
 * could not be made.
 */
import { randomInt } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, relative, resolve } from 'node:path';
import { performance } from 'node:perf_hooks';
import { type Asked, readCommandLine, type StormAsked } from './command-line.ts';
import { judgeAll } from './judges/all.ts';
import { reportHtml } from './report/html-report.ts';
import { indexHtml, type RunSummary, summaryOf } from './report/index-page.ts';
import { drawRecord } from './report/read-record.ts';
import { Reports } from './reports.ts';
import { run } from './run.ts';
import type { RunRecord } from './run-record.ts';
import type { Scenario } from './scenario.ts';
import { tableText } from './scenario-table.ts';
import { readScheduleFile, replayed, scheduleOf } from './schedule.ts';
import { type Outcome, storm, stormText } from './storm/storm.ts';
import { notPlayed, type Result, resultOf, summary } from './summary.ts';
import { ChaosError } from './world.ts';
import { Worlds } from './worlds.ts';

const APP = resolve(import.meta.dirname, '..', 'examples', 'witness', 'app.ts');
const SEED_MAX = 2 ** 31;
const STATUS = { holds: 0, broken: 1, wrong: 2, void: 3, inconclusive: 3 } as const;

const ending = new AbortController();
for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(name, () => {
    if (ending.signal.aborted) process.exit(130);
    console.error('chaos: healing and ending; once more to leave everything as it is');
    ending.abort(new ChaosError('ended early'));
  });
}

const read = readCommandLine(process.argv.slice(2));
if ('complaints' in read) {
  for (const complaint of read.complaints) console.error(complaint);
  process.exitCode = STATUS.wrong;
} else {
  process.exitCode = await main(read).catch((error: unknown) => {
    if (!(error instanceof ChaosError)) throw error;
    console.error(`chaos: ${error.message}`);
    return STATUS.void;
  });
}

async function main(asked: Asked): Promise<number> {
  if (asked.kind === 'list') {
    for (const { name, claim, seconds } of asked.scenarios) {
      console.log(`${name.padEnd(28)} ${String(seconds).padStart(3)} s  ${claim}`);
    }
    return STATUS.holds;
  }
  const say = (line: string) => (asked.json ? console.error(line) : console.log(line));
  if (asked.kind === 'report') return drawn(asked.file ?? '', asked.report ?? '');
  let scenarios = asked.scenarios;
  let seed = asked.seed;
  if (asked.kind === 'replay') {
    const file = readScheduleFile(textOf(asked.file ?? ''));
    if ('complaint' in file) {
      console.error(`chaos: ${asked.file}  ${file.complaint}`);
      return STATUS.wrong;
    }
    scenarios = [replayed(file)];
    seed ??= file.seed;
  }
  seed ??= randomInt(SEED_MAX);
  let status: number = STATUS.holds;
  const worlds = new Worlds({
    app: APP,
    root: asked.root,
    environment: process.env,
    report: (line) => say(`  ${line}`),
    signal: ending.signal,
  });
  const reports = asked.reports === undefined ? undefined : new Reports(asked.reports);
  const results: Result[] = [];
  try {
    if (asked.storm !== undefined && asked.kind === 'storm') {
      status = STATUS[await weather(asked, asked.storm, seed, { worlds, say })];
    }
    for (const scenario of scenarios) {
      if (ending.signal.aborted) break;
      const result = await one(scenario, seed, { asked, worlds, reports, say });
      results.push(result);
      status = worse(status, STATUS[result.verdict]);
    }
    if (results.length > 1) for (const line of ['', ...tableText(results)]) say(line);
    if (reports !== undefined) say(`\nreports: ${reports.index}`);
  } finally {
    await worlds.stop();
  }
  return ending.signal.aborted ? worse(status, STATUS.void) : status;
}

async function one(
  scenario: Scenario,
  seed: number,
  {
    asked,
    worlds,
    reports,
    say,
  }: { asked: Asked; worlds: Worlds; reports: Reports | undefined; say: (line: string) => void },
): Promise<Result> {
  const again = asked.kind === 'replay' ? `replay ${asked.file}` : scenario.name;
  const command = `npm run chaos -- ${again} --seed ${seed}`;
  say(`\n${scenario.name}: ${scenario.claim}\n  ${command}`);
  const outcome = await played(scenario, seed, command, { worlds, say });
  let result: Result;
  if (outcome.kind === 'not-played') {
    say(`  ${outcome.why}`);
    result = notPlayed(scenario, seed, outcome.why);
    reports?.addNotPlayed(result);
  } else {
    const { record } = outcome;
    result = resultOf(record);
    if (asked.report !== undefined) writeFileSync(asked.report, reportHtml(record));
    if (asked.record !== undefined) writeFileSync(asked.record, `${JSON.stringify(record)}\n`);
    reports?.add(record, result);
    for (const line of summary(record)) say(`  ${line}`);
  }
  if (asked.json) console.log(JSON.stringify(result));
  return result;
}

/** From a record that was kept to the page that a run of today would leave. */
function drawn(record: string, page: string): number {
  const read = drawRecord(textOf(record));
  if (read.kind === 'drawn') {
    writeFileSync(page, read.html);
    return STATUS.holds;
  }
  for (const complaint of read.complaints) console.error(`chaos: ${record}  ${complaint}`);
  return STATUS.wrong;
}

async function played(
  scenario: Scenario,
  seed: number,
  command: string,
  { worlds, say }: { worlds: Worlds; say: (line: string) => void },
): Promise<Outcome> {
  try {
    const world = await worlds.for(scenario);
    const beganAtMs = performance.now();
    const record = await run({
      scenario,
      schedule: scheduleOf(scenario, seed),
      seed,
      world,
      clock: () => performance.now(),
      startedAt: new Date().toISOString(),
      run: `run-${randomInt(SEED_MAX).toString(36)}`,
      command,
      judge: judgeAll,
      report: (line) => {
        const seconds = ((performance.now() - beganAtMs) / 1_000).toFixed(1);
        say(`  ${seconds.padStart(6)} s  ${line}`);
      },
      signal: ending.signal,
    });
    // What broke a promise may be broken for whoever comes next.
    if (record.verdict === 'broken') await worlds.stop();
    return { kind: 'played', record };
  } catch (error) {
    await worlds.stop();
    if (!(error instanceof ChaosError)) throw error;
    return { kind: 'not-played', why: error.message };
  }
}

async function weather(
  asked: Asked,
  { minutes, wan, shrinking, keep: kept }: StormAsked,
  seed: number,
  { worlds, say }: { worlds: Worlds; say: (line: string) => void },
): Promise<RunRecord['verdict']> {
  const folder = kept ?? mkdtempSync(join(tmpdir(), 'domicile-storm-'));
  mkdirSync(folder, { recursive: true });
  say(`storm: ${minutes} minutes, seed ${seed}; schedules and reports are kept in ${folder}`);
  const keep = (name: string, text: string) => {
    const path = join(folder, name);
    writeFileSync(path, text);
    return path;
  };
  const runs: RunSummary[] = [];
  const { regions } = await worlds.for({ wan });
  const result = await storm({
    seed,
    minutes,
    regions,
    wan,
    shrinking,
    play: (file, { name, command }) =>
      played({ ...replayed(file), name }, file.seed, command, { worlds, say }),
    keep,
    keepRecord: (name, record) => {
      const report = keep(`${name}.html`, reportHtml(record));
      if (record.verdict !== 'holds') keep(`${name}-record.json`, `${JSON.stringify(record)}\n`);
      if (asked.report === undefined) return;
      // After each round, so that a storm that somebody ends has its page too.
      runs.push(summaryOf(record, relative(dirname(asked.report), report)));
      writeFileSync(asked.report, indexHtml(runs));
    },
    now: () => performance.now(),
    say,
    signal: ending.signal,
  });
  if (asked.json) console.log(JSON.stringify(result));
  else say(`\n${stormText(result).join('\n')}`);
  return result.verdict;
}

/** @throws ChaosError when it cannot be read. */
function textOf(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw new ChaosError(`${file} cannot be read (${(error as NodeJS.ErrnoException).code})`);
  }
}

function worse(a: number, b: number): number {
  // A broken claim is worse than a run that proves nothing.
  return a === STATUS.broken || b === STATUS.broken ? STATUS.broken : Math.max(a, b);
}
