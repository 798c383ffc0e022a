/**
 * `npm run bench -- <what> [--json]`: what Domicile costs, as ratios measured in one run.
 *
 * Starts a throw-away world, measures, prints a table, and with `--json` ends with one line of
 * JSON.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { portsNeeded, withPorts } from '../regions/local/catalogue-ports.ts';
import { freePorts } from '../regions/local/ports.ts';
import { wipe } from '../regions/local/wipe-world.ts';
import { type AppFiles, readFiles } from '../router/read-files.ts';
import { startWorld, type World } from '../router/world.ts';
import { measureOverhead, OVERHEAD_APP } from './overhead/overhead.ts';
import { inWords } from './ratio.ts';

const STOREFRONT = fileURLToPath(new URL('../examples/storefront/', import.meta.url));

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    json: { type: 'boolean', default: false },
    rounds: { type: 'string', default: '7' },
    seconds: { type: 'string', default: '3' },
    connections: { type: 'string', default: '32' },
  },
});
const report = (line: string) => void process.stderr.write(`${line}\n`);
const numbers = {
  rounds: Number(values.rounds),
  seconds: Number(values.seconds),
  connections: Number(values.connections),
};

const [what = 'overhead'] = positionals;
switch (what) {
  case 'overhead': {
    const files = {
      app: OVERHEAD_APP,
      policy: join(STOREFRONT, 'residency.yaml'),
      regions: join(STOREFRONT, 'regions.yaml'),
      schema: join(STOREFRONT, 'schema.sql'),
    };
    const result = await inWorld(files, { wan: false }, (world, root) =>
      measureOverhead(world, root, { ...numbers, report }),
    );
    report('');
    report(`bare Hono + postgres   ${inWords(result.bareReadsPerSecond, ' reads/s')}`);
    report(`session read / bare    ${inWords(result.sessionReadVsBare)}`);
    report(`naive check / bare     ${inWords(result.naiveCheckVsBare)}`);
    report(`write / bare write     ${inWords(result.writeVsBare)}`);
    for (const [name, cost] of Object.entries(result.cpuUsPerRequest)) {
      report(`server's processor time, ${name.padEnd(14)} ${inWords(cost, ' µs a request')}`);
    }
    if (values.json) console.log(JSON.stringify(result));
    break;
  }
  default:
    report(`bench: nothing is called "${what}"; there is overhead`);
    process.exitCode = 2;
}

/** Runs `use` in a world of its own, which is gone afterwards. */
async function inWorld<T>(
  files: AppFiles,
  { wan }: { wan: boolean },
  use: (world: World, root: string) => Promise<T>,
): Promise<T> {
  const read = await readFiles(files);
  if ('complaints' in read) throw new Error(read.complaints.join('\n'));
  const catalogue = withPorts(read.catalogue, await freePorts(portsNeeded(read.catalogue)));
  const root = await mkdtemp(join(tmpdir(), 'domicile-bench-'));
  const ending = new AbortController();
  process.once('SIGINT', () => ending.abort());
  process.once('SIGTERM', () => ending.abort());
  try {
    const world = await startWorld({
      root,
      files,
      catalogue,
      policy: read.policy,
      durable: true,
      wan,
      environment: process.env,
      report,
      signal: ending.signal,
    });
    try {
      return await use(world, root);
    } finally {
      await world.stop();
    }
  } finally {
    await wipe(root, () => {});
    await rm(root, { recursive: true, force: true });
  }
}
