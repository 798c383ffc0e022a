/**
 * How are many mistakes tried on one running system?
 *
 * Servers take far longer to start than edges and keepers, and have no part in most mistakes. So one
 * world stands for all of them, and its edges and keepers are started anew, with the mistake in them.
 * This is a program of its own because it has to run in the copy of the tree: for each line that it
 * reads it starts them anew and answers with a line, and it ends with its input.
 */
import { resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { ChaosWorld } from '../world.ts';

const APP = resolve(import.meta.dirname, '..', '..', 'examples', 'witness', 'app.ts');
const LOOK_EVERY_MS = 20;

const ending = new AbortController();
for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(name, () => ending.abort());
}

const world = await ChaosWorld.start({
  app: APP,
  wan: false,
  environment: process.env,
  report: (line) => console.error(line),
  signal: ending.signal,
});
try {
  console.log(world.root);
  for await (const _ of createInterface({ input: process.stdin, signal: ending.signal })) {
    await startAnew();
    console.log('started anew');
  }
} finally {
  await world.stop();
}

async function startAnew(): Promise<void> {
  const names = [...world.catalogue.regions.values()].flatMap(({ id, edges }) => [
    ...edges.map(({ name }) => name),
    `keeper-${id}`,
  ]);
  const pids = (await Promise.all(names.map((name) => world.pidsOf(name)))).flat();
  for (const pid of pids) process.kill(pid, 'SIGKILL');
  while ((await world.processes()).some(({ pid }) => pid !== undefined && pids.includes(pid))) {
    await new Promise((done) => setTimeout(done, LOOK_EVERY_MS));
  }
  await Promise.all(names.map((name) => world.start(name)));
}
