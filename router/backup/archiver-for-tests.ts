/**
 * An archiver in a process of its own, so that a test can kill it.
 */
import { startArchiver } from './archiver.ts';

const given = JSON.parse(process.argv[2] ?? '');
await startArchiver({
  ...given,
  backupEveryMs: undefined,
  keep: 2,
  wallClock: Date.now,
  report: (step: string) => process.stdout.write(`${step}\n`),
});
process.stdout.write('started\n');
