/**
 * Counts what vitest's JSON reports say: the first is of all files together, each further one of a
 * file that failed there and was run once more by itself, whose word then counts.
 *
 *     node .ci/summary.ts --failed REPORT        the files to run by themselves, a line each
 *     node .ci/summary.ts REPORT [REPORT ...]    what passed alone, and "N passed, N failed"
 */
import { existsSync, readFileSync } from 'node:fs';
import { relative } from 'node:path';

type FileResult = {
  /** The file's whole path. */
  name: string;
  status: string;
  assertionResults: { status: string; fullName: string }[];
};

/** More than so many files are no accident. */
const ALONE_MAX = 3;

function read(report: string): FileResult[] {
  if (!existsSync(report)) return [];
  const text = readFileSync(report, 'utf8');
  return text === '' ? [] : (JSON.parse(text) as { testResults: FileResult[] }).testResults;
}

/** A file that could not be loaded or set up is a failure by itself. */
function failuresOf({ name, status, assertionResults }: FileResult): string[] {
  const failed = assertionResults.filter((one) => one.status === 'failed');
  const whole = status === 'failed' && failed.length === 0 ? ['(the file itself)'] : [];
  const path = relative(process.cwd(), name);
  return [...failed.map(({ fullName }) => fullName), ...whole].map((test) => `${path}: ${test}`);
}

const args = process.argv.slice(2);
if (args[0] === '--failed') {
  const failed = read(args[1] ?? '').filter((file) => failuresOf(file).length > 0);
  if (failed.length <= ALONE_MAX) {
    for (const { name } of failed) console.log(relative(process.cwd(), name));
  }
} else {
  const [together = [], ...alone] = args.map(read);
  const last = new Map([...together, ...alone.flat()].map((file) => [file.name, file]));
  for (const test of together.flatMap(failuresOf)) console.log(`ci: failed beside others: ${test}`);
  for (const test of alone.flat().flatMap(failuresOf)) console.log(`ci: failed alone: ${test}`);
  const files = [...last.values()];
  const passed = files
    .flatMap(({ assertionResults }) => assertionResults)
    .filter(({ status }) => status === 'passed').length;
  const failed = files.flatMap(failuresOf).length;
  console.log(`${passed} passed, ${failed} failed`);
  if (failed > 0 || passed === 0) process.exitCode = 1;
}
