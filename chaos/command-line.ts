/**
 * What is asked for on the command line?
 *
 *     npm run chaos -- list
 *     npm run chaos -- NAME … --seed 7 --json --report FILE.html --record FILE.json
 *     npm run chaos -- quick | all
 *     npm run chaos -- storm --minutes 30 --seed 7
 *     npm run chaos -- replay SCHEDULE.json
 */
import { parseArgs } from 'node:util';
import type { Scenario } from './scenario.ts';
import { QUICK, SCENARIOS } from './scenarios.ts';

export type Asked = {
  kind: 'list' | 'run' | 'replay' | 'storm';
  scenarios: readonly Scenario[];
  /** For `replay`. */
  file?: string;
  /** Undefined: drawn. */
  seed: number | undefined;
  json: boolean;
  /** Of a storm. */
  minutes?: number;
  report?: string;
  record?: string;
  /** A world that runs already; undefined: start one. */
  root?: string;
};

const SEED_MAX = 2 ** 32 - 1;

const USAGE = [
  'usage: npm run chaos -- list',
  '       npm run chaos -- <scenario …|quick|all> [--seed <number>] [--root <folder of a running world>]',
  '                        [--json] [--report <file.html>] [--record <file.json>]',
  '       npm run chaos -- storm --minutes <number> [--seed <number>] [--root …] [--json]',
  '       npm run chaos -- replay <file> [same options]',
];

export function readCommandLine(words: readonly string[]): Asked | { complaints: string[] } {
  const read = parsed(words);
  if ('complaint' in read) return { complaints: [read.complaint, ...USAGE] };
  const { values, positionals } = read;
  const [first, ...rest] = positionals;
  const complaints: string[] = [];
  const { seed, json = false, report, record, root, minutes } = values;
  if (seed !== undefined && (!/^\d+$/.test(seed) || Number(seed) > SEED_MAX)) {
    complaints.push(`--seed "${seed}" is not a whole number below 2^32`);
  }
  const common = {
    seed: seed === undefined ? undefined : Number(seed),
    json,
    ...(report !== undefined && { report }),
    ...(record !== undefined && { record }),
    ...(root !== undefined && { root }),
  };
  if (first === undefined) complaints.push('which scenario? "list" says which there are');
  if (first === 'list' && rest.length > 0) complaints.push(`list takes no "${rest[0]}"`);
  if (first === 'replay') {
    const [file, more] = rest;
    if (file === undefined) complaints.push('replay needs the file of a schedule');
    if (more !== undefined) complaints.push(`replay takes one file, not "${more}" as well`);
    if (complaints.length > 0) return { complaints: [...complaints, ...USAGE] };
    return { kind: 'replay', scenarios: [], ...(file !== undefined && { file }), ...common };
  }
  if (minutes !== undefined && first !== 'storm') complaints.push('--minutes is for a storm');
  if (first === 'storm') {
    if (rest.length > 0) complaints.push(`a storm takes no "${rest[0]}"`);
    if (!/^[1-9]\d{0,3}$/.test(minutes ?? '')) {
      complaints.push(
        `--minutes "${minutes ?? ''}" is not a whole number of minutes from 1 to 9999`,
      );
    }
    if (report !== undefined || record !== undefined) {
      complaints.push('--report and --record are for one scenario');
    }
    if (complaints.length > 0) return { complaints: [...complaints, ...USAGE] };
    return { kind: 'storm', scenarios: [], minutes: Number(minutes), ...common };
  }
  const scenarios =
    first === 'list' ? SCENARIOS : positionals.flatMap((name) => named(name, complaints));
  if (complaints.length > 0) return { complaints: [...complaints, ...USAGE] };
  if ((report !== undefined || record !== undefined) && scenarios.length > 1) {
    return { complaints: ['--report and --record are for one scenario', ...USAGE] };
  }
  return { kind: first === 'list' ? 'list' : 'run', scenarios, ...common };
}

function named(name: string, complaints: string[]): readonly Scenario[] {
  if (name === 'all') return SCENARIOS;
  if (name === 'quick') return QUICK;
  const found = SCENARIOS.filter((scenario) => scenario.name === name);
  if (found.length === 0) {
    complaints.push(`there is no scenario "${name}"; "list" says which there are`);
  }
  return found;
}

function parsed(words: readonly string[]) {
  try {
    return parseArgs({
      args: [...words],
      allowPositionals: true,
      options: {
        seed: { type: 'string' },
        json: { type: 'boolean' },
        report: { type: 'string' },
        record: { type: 'string' },
        root: { type: 'string' },
        minutes: { type: 'string' },
      },
    });
  } catch (error) {
    return { complaint: error instanceof Error ? error.message : String(error) };
  }
}
