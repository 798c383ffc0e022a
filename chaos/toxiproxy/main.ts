/**
 * Runs the built-in Toxiproxy as a process of its own.
 *
 *     node chaos/toxiproxy/main.ts --host 127.0.0.1 --port 8474 --config proxies.json --seed 7
 *
 * Flags may begin with one dash, as the original's do. A parent with an IPC channel is told
 * `{ ready: true, port }`, and when it goes away this process goes too.
 */
import { readFile } from 'node:fs/promises';
import { performance } from 'node:perf_hooks';
import { parseArgs } from 'node:util';
import { VERSION } from './api.ts';
import { seededRandom } from './seeded-random.ts';
import { startToxiproxy } from './server.ts';

const EXIT_CANNOT_START = 1;
const EXIT_BAD_FLAGS = 2;

const flags = readFlags();
if (flags.version) {
  console.log(`toxiproxy-server version ${VERSION} (built-in)`);
  process.exit(0);
}

// Leave before the first byte moves if somebody wants us gone while we start.
process.on('SIGINT', () => process.exit(0));
process.on('SIGTERM', () => process.exit(0));
process.on('disconnect', () => process.exit(0));

const started = await startToxiproxy({
  host: flags.host,
  port: Number(flags.port),
  world: {
    nowMs: () => performance.now(),
    random: flags.seed === undefined ? Math.random : seededRandom(Number(flags.seed)),
  },
});
if (started.kind === 'cannot_listen') {
  console.error(`toxiproxy: cannot start\n  ${started.because}`);
  process.exit(EXIT_CANNOT_START);
}

const { toxiproxy } = started;
if (flags.config !== undefined) {
  const words = await populateFrom(flags.config);
  // The original goes on too: a missing proxy is seen by whoever uses it.
  if (words !== undefined) console.error(`toxiproxy: ${flags.config}: ${words}`);
}
console.log(`toxiproxy: built-in ${VERSION}, API on ${toxiproxy.url}`);
process.send?.({ ready: true, port: toxiproxy.port });

async function populateFrom(path: string): Promise<string | undefined> {
  try {
    return await toxiproxy.populate(await readFile(path, 'utf8'));
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

function readFlags() {
  const args = process.argv.slice(2).map((arg) => arg.replace(/^-(?=[a-z])/, '--'));
  try {
    const { values } = parseArgs({
      args,
      options: {
        host: { type: 'string', default: 'localhost' },
        port: { type: 'string', default: '8474' },
        config: { type: 'string' },
        seed: { type: 'string' },
        version: { type: 'boolean', default: false },
      },
    });
    const { port, seed = '0' } = values;
    if (!/^\d{1,5}$/.test(port)) throw new TypeError(`--port "${port}" is not a port`);
    if (!/^\d+$/.test(seed)) throw new TypeError(`--seed "${seed}" is not a whole number`);
    return values;
  } catch (error) {
    console.error(`toxiproxy: ${error instanceof Error ? error.message : String(error)}`);
    process.exit(EXIT_BAD_FLAGS);
  }
}
