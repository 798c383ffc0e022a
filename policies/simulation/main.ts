/**
 * `npm run simulate`: how many steps, from which seed, and what came of it.
 */
import { parseArgs } from 'node:util';
import { type Simulation, servedAndRefused, simulate } from './simulate.ts';
import { World, type WorldEnd } from './world.ts';

/** Lines of a broken world that are shown; what led to it is close by. */
const TRACE_LINES = 40;

const { values } = parseArgs({
  options: {
    steps: { type: 'string', default: '1000000' },
    seed: { type: 'string', default: '1' },
    world: { type: 'string' },
    json: { type: 'boolean', default: false },
  },
});

function whole(name: string, text: string): number {
  const value = Number(text);
  if (/^\d{1,12}$/.test(text)) return value;
  console.error(`simulate: --${name}=${JSON.stringify(text)} is not a whole number`);
  process.exit(2);
}

function report({ steps, worlds, tally, broken, idle }: Simulation, ms: number): void {
  const [served, refused] = servedAndRefused(tally);
  console.log(
    `${steps} steps in ${worlds} worlds, ${(ms / 1_000).toFixed(1)} s; ` +
      `${served} requests served, ${refused} refused or of unknown outcome`,
  );
  for (const [what, times] of Object.entries(tally).toSorted(([, a], [, b]) => b - a)) {
    console.log(`${String(times).padStart(10)}  ${what}`);
  }
  for (const what of idle) console.log(`too idle: ${what}`);
  if (broken !== undefined) tell(broken);
}

function tell({ seed, steps, violations, trace }: WorldEnd): void {
  console.log(trace.slice(-TRACE_LINES).join('\n'));
  for (const { promise, subject, writes, atMs } of violations) {
    const which = writes.map((number) => `${subject}.${number}`).join(', ');
    console.log(`broken: ${promise}, at ${atMs.toFixed(2)} ms; writes ${which}`);
  }
  console.log(`again, after ${steps} steps: npm run simulate -- --world=${seed}`);
}

if (values.world !== undefined) {
  const end = new World(whole('world', values.world), { traced: true }).run();
  tell(end);
  process.exitCode = end.violations.length === 0 ? 0 : 1;
} else {
  const [seed, steps] = [whole('seed', values.seed), whole('steps', values.steps)];
  const startedAtMs = performance.now();
  const simulation = simulate(seed, steps);
  const ms = performance.now() - startedAtMs;
  const violations = simulation.broken?.violations.length ?? 0;
  if (!values.json) report(simulation, ms);
  else {
    if (simulation.broken !== undefined) {
      console.log(
        JSON.stringify({ world: simulation.broken.seed, broken: simulation.broken.violations }),
      );
    }
    for (const idle of simulation.idle) console.log(JSON.stringify({ idle }));
    const stepsPerSecond = Math.round((1_000 * simulation.steps) / ms);
    console.log(JSON.stringify({ steps: simulation.steps, violations, stepsPerSecond }));
  }
  process.exitCode = violations > 0 || simulation.idle.length > 0 ? 1 : 0;
}
