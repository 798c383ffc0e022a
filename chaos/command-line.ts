/**
 * What is asked for on the command line?
 *
 *     npm run chaos -- list
 *     npm run chaos -- NAME … --seed 7 --json --report FILE.html --record FILE.json
 *     npm run chaos -- quick | all --reports FOLDER
 *     npm run chaos -- report RECORD.json FILE.html
 *     npm run chaos -- replay SCHEDULE.json
 *     npm run chaos -- storm --minutes 30 --seed 7 --keep FOLDER
 */
import { parseArgs } from 'node:util';
import type { Scenario } from './scenario.ts';
import { QUICK, SCENARIOS } from './scenarios.ts';

export type Asked = {
  kind: 'list' | 'run' | 'replay' | 'report' | 'storm';
  scenarios: readonly Scenario[];
  /** For `replay`, a schedule; for `report`, a record. */
  file?: string;
  /** Undefined: drawn. */
  seed: number | undefined;
  json: boolean;
  report?: string;
  record?: string;
  /** The folder of a report and a record of each run, and of a page that lists them. */
  reports?: string;
  /** A world that runs already; undefined: start one. */
  root?: string;
  storm?: StormAsked;
};

export type StormAsked = {
  minutes: number;
  /** Real distances between the regions. */
  wan: boolean;
  /** Where schedules and reports are kept; undefined: a new folder. */
  keep?: string;
  shrinking: { minutes: number; ofTries: { tries: number; atLeast: number } };
};

const STORM_MINUTES = 30;
const SHRINK_MINUTES = 20;
const MINUTES_MAX = 7 * 24 * 60;
/** One round at least. */
const LEAST_MINUTES = 0.1;
const FAILS = '1/2';

const SEED_MAX = 2 ** 32 - 1;

const USAGE = [
  'usage: npm run chaos -- list',
  '       npm run chaos -- <scenario …|quick|all> [--seed <number>] [--root <folder of a running world>]',
  '                        [--json] [--report <file.html>] [--record <file.json>] [--reports <folder>]',
  '       npm run chaos -- replay <file> [same options]',
  '       npm run chaos -- report <record.json> <file.html>',
  '       npm run chaos -- storm [--minutes <number>] [--wan] [--keep <folder>] [--shrink-minutes <number>]',
  '                        [--fails <at least>/<of tries>] [same options but --record and --reports]',
];

export function readCommandLine(words: readonly string[]): Asked | { complaints: string[] } {
  const read = parsed(words);
  if ('complaint' in read) return { complaints: [read.complaint, ...USAGE] };
  const { values, positionals } = read;
  const [first, ...rest] = positionals;
  const complaints: string[] = [];
  const { seed, json = false, report, record, reports, root } = values;
  if (seed !== undefined && (!/^\d+$/.test(seed) || Number(seed) > SEED_MAX)) {
    complaints.push(`--seed "${seed}" is not a whole number below 2^32`);
  }
  const common = {
    seed: seed === undefined ? undefined : Number(seed),
    json,
    ...(report !== undefined && { report }),
    ...(record !== undefined && { record }),
    ...(reports !== undefined && { reports }),
    ...(root !== undefined && { root }),
  };
  if (first === undefined) complaints.push('which scenario? "list" says which there are');
  if (first === 'list' && rest.length > 0) complaints.push(`list takes no "${rest[0]}"`);
  const storm = stormAsked(values, first === 'storm', complaints);
  if (first === 'replay') {
    const [file, more] = rest;
    if (file === undefined) complaints.push('replay needs the file of a schedule');
    if (more !== undefined) complaints.push(`replay takes one file, not "${more}" as well`);
    if (complaints.length > 0) return { complaints: [...complaints, ...USAGE] };
    return { kind: 'replay', scenarios: [], ...(file !== undefined && { file }), ...common };
  }
  if (first === 'report') {
    const [file, to, more] = rest;
    if (file === undefined || to === undefined) {
      complaints.push('report needs the file of a record, and the file that it is drawn to');
    }
    if (more !== undefined) complaints.push(`report takes two files, not "${more}" as well`);
    const given = Object.keys(values)[0];
    if (given !== undefined) complaints.push(`report takes no --${given}`);
    if (file === undefined || to === undefined || complaints.length > 0) {
      return { complaints: [...complaints, ...USAGE] };
    }
    return { kind: 'report', scenarios: [], seed: undefined, json, file, report: to };
  }
  if (first === 'storm') {
    if (rest.length > 0) complaints.push(`storm takes no "${rest[0]}"`);
    if (record !== undefined) complaints.push('--record is for one run; a storm has --keep');
    if (reports !== undefined) complaints.push('--reports is for scenarios; a storm has --keep');
    if (complaints.length > 0) return { complaints: [...complaints, ...USAGE] };
    return { kind: 'storm', scenarios: [], storm, ...common };
  }
  const scenarios =
    first === 'list' ? SCENARIOS : positionals.flatMap((name) => named(name, complaints));
  if (complaints.length > 0) return { complaints: [...complaints, ...USAGE] };
  if ((report !== undefined || record !== undefined) && scenarios.length > 1) {
    return {
      complaints: ['--report and --record are for one scenario; of many, take --reports', ...USAGE],
    };
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

type StormValues = {
  minutes?: string | undefined;
  wan?: boolean | undefined;
  keep?: string | undefined;
  'shrink-minutes'?: string | undefined;
  fails?: string | undefined;
};

function stormAsked(values: StormValues, isStorm: boolean, complaints: string[]): StormAsked {
  const names = ['minutes', 'wan', 'keep', 'shrink-minutes', 'fails'] as const;
  for (const name of isStorm ? [] : names) {
    if (values[name] !== undefined) complaints.push(`--${name} is for a storm`);
  }
  const minutesOf = (name: 'minutes' | 'shrink-minutes', usual: number, least: number) => {
    const text = values[name];
    if (text === undefined) return usual;
    const is = /^\d+(\.\d+)?$/.test(text) ? Number(text) : Number.NaN;
    if (is >= least && is <= MINUTES_MAX) return is;
    complaints.push(
      `--${name} "${text}" is not a number of minutes from ${least} to ${MINUTES_MAX}`,
    );
    return usual;
  };
  const { wan = false, keep, fails = FAILS } = values;
  const [, atLeast = 1, tries = 1] = (/^([1-9]\d?)\/([1-9]\d?)$/.exec(fails) ?? []).map(Number);
  if (!/^[1-9]\d?\/[1-9]\d?$/.test(fails) || atLeast > tries) {
    complaints.push(`--fails "${fails}" does not say in how many of how many tries, as in 2/3`);
  }
  return {
    minutes: minutesOf('minutes', STORM_MINUTES, LEAST_MINUTES),
    wan,
    ...(keep !== undefined && { keep }),
    shrinking: {
      minutes: minutesOf('shrink-minutes', SHRINK_MINUTES, 0),
      ofTries: { tries, atLeast },
    },
  };
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
        reports: { type: 'string' },
        root: { type: 'string' },
        minutes: { type: 'string' },
        wan: { type: 'boolean' },
        keep: { type: 'string' },
        'shrink-minutes': { type: 'string' },
        fails: { type: 'string' },
      },
    });
  } catch (error) {
    return { complaint: error instanceof Error ? error.message : String(error) };
  }
}
