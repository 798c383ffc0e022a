/**
 * `npm run bench -- <what> [--json]`: what Domicile costs, as ratios measured in one run.
 *
 * Each measurement has a throw-away world, prints a table to standard error, and with `--json` ends
 * with one line of JSON.
 */
import { parseArgs } from 'node:util';
import { measureDark } from './dark-region.ts';
import { measureEnforcement } from './enforcement.ts';
import { measureFailover } from './failover.ts';
import { measureForward } from './forward.ts';
import { measureLadder } from './ladder.ts';
import { inWorld } from './measured-world.ts';
import { measureMemory } from './memory.ts';
import { measureOverhead, overheadTable } from './overhead.ts';
import { measureStrong } from './strong.ts';
import { measureTelemetry } from './telemetry.ts';
import { measureToxiproxy } from './toxiproxy.ts';

const report = (line: string) => void process.stderr.write(`${line}\n`);

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    json: { type: 'boolean', default: false },
    rounds: { type: 'string' },
    seconds: { type: 'string', default: '3' },
    connections: { type: 'string', default: '32' },
    runs: { type: 'string', default: '20' },
    kinds: { type: 'string' },
  },
});
const seconds = Number(values.seconds);
const rounds = (usual: number) => (values.rounds === undefined ? usual : Number(values.rounds));

const ending = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => ending.abort());
const options = { report, signal: ending.signal };

const measurements: Record<string, () => Promise<unknown>> = {
  overhead: async () => {
    const load = { rounds: rounds(7), seconds, connections: Number(values.connections) };
    const result = await inWorld({ wan: false, ...options }, (bench) =>
      measureOverhead(bench, load),
    );
    for (const line of overheadTable(result)) report(line);
    return result;
  },
  forward: () =>
    inWorld({ wan: true, ...options }, (bench) =>
      measureForward(bench, { rounds: rounds(3), seconds }),
    ),
  enforcement: () =>
    inWorld({ wan: false, ...options }, (bench) =>
      measureEnforcement(bench, { rounds: rounds(5), seconds }),
    ),
  ladder: () => inWorld({ wan: false, ...options }, (bench) => measureLadder(bench, { seconds })),
  strong: () =>
    inWorld({ wan: false, ...options }, (bench) =>
      measureStrong(bench, { rounds: rounds(5), seconds }),
    ),
  telemetry: () =>
    inWorld({ wan: false, ...options }, (bench) =>
      measureTelemetry(bench, { rounds: rounds(5), seconds }),
    ),
  dark: () => measureDark({ seconds: Math.max(seconds, 10), ...options }),
  failover: () =>
    measureFailover({
      runs: Number(values.runs),
      ...(values.kinds !== undefined && { kinds: values.kinds.split(',') }),
      ...options,
    }),
  toxiproxy: () => measureToxiproxy({ rounds: rounds(15), environment: process.env, report }),
  memory: () => inWorld({ wan: false, ...options }, measureMemory),
};

const asked = positionals.length === 0 ? Object.keys(measurements) : positionals;
const unknown = asked.filter((name) => !Object.hasOwn(measurements, name));
if (unknown.length > 0) {
  report(
    `bench: there is no ${unknown.join(', ')}; there are ${Object.keys(measurements).join(', ')}`,
  );
  process.exitCode = 2;
} else {
  for (const name of asked) {
    report(`\n== ${name}`);
    const result = await measurements[name]?.();
    if (values.json) console.log(JSON.stringify(result));
  }
}
