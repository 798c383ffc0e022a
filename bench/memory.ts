/**
 * How much memory does an edge take?
 *
 * The proportional set size of a real edge process: after its start, after some load, and with a
 * million subjects in the memory of its directory.
 */
import { readFileSync } from 'node:fs';
import { load } from './load.ts';
import { type Bench, edgeOf, signUp } from './measured-world.ts';

export type Memory = {
  atRestMiB: number;
  afterLoadMiB: number;
  withMillionEntriesMiB: number;
  bytesPerEntry: number;
};

const ENTRIES = 1_000_000;

export async function measureMemory({ world, report }: Bench): Promise<Memory> {
  const edge = edgeOf(world, 'eu');
  const pid = world.edges.get(world.catalogue.regions.get('eu')?.edges[0]?.name ?? '')?.pid ?? 0;
  const atRest = pssBytes(pid);
  const token = await signUp(edge, 'measured');
  await load({
    url: `${edge}/users/measured`,
    method: 'GET',
    headers: { 'domicile-session': token },
    connections: 32,
    seconds: 5,
  });
  const afterLoad = pssBytes(pid);
  for (let filled = 0; filled < 10; filled++) {
    await fetch(`${edge}/directory/${ENTRIES / 10}?from=${filled}`, { method: 'POST' });
  }
  const filled = pssBytes(pid);
  const mebibytes = (bytes: number) => Math.round(bytes / 1024 / 1024);
  const result = {
    atRestMiB: mebibytes(atRest),
    afterLoadMiB: mebibytes(afterLoad),
    withMillionEntriesMiB: mebibytes(filled),
    bytesPerEntry: Math.round((filled - afterLoad) / ENTRIES),
  };
  report(`edge at rest                     ${result.atRestMiB} MiB`);
  report(`after five seconds of load       ${result.afterLoadMiB} MiB`);
  report(
    `with 1,000,000 directory entries ${result.withMillionEntriesMiB} MiB (${result.bytesPerEntry} bytes each)`,
  );
  return result;
}

/** proc(5), smaps_rollup: shared pages count by the share that is this process's. Linux only. */
function pssBytes(pid: number): number {
  const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
  return Number(/^Pss:\s+(\d+) kB$/m.exec(rollup)?.[1] ?? Number.NaN) * 1024;
}
