/**
 * Shows what Domicile does, in a world that is thrown away afterwards:
 *
 *     npm run demo
 *
 * Starts three regions with a Postgres primary, replica and airlock each, tells them a story and
 * prints every request and answer. Exits 0 only if each step was as claimed.
 */
import { resolve } from 'node:path';
import { performance } from 'node:perf_hooks';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { styleText } from 'node:util';
import { Command } from 'commander';
import { CannotStart } from '../../regions/local/cannot-start.ts';
import { besideApp } from '../../router/read-files.ts';
import { inThrowAwayWorld } from '../../router/throw-away-world.ts';
import type { World } from '../../router/world.ts';
import type { Story } from './step.ts';
import { type Colour, type Told, tellStory } from './tell-story.ts';

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));

const COLUMNS_MAX = 100;
const COLUMNS_MIN = 60;

const { story: storyFile } = new Command('demo')
  .description('Tells a throw-away world a story and checks each of its claims.')
  .option('--story <file>', 'another story: a module that exports `story`', here('./story.ts'))
  .parse()
  .opts<{ story: string }>();

const startedAtMs = performance.now();
const seconds = () => `${((performance.now() - startedAtMs) / 1000).toFixed(1).padStart(5)} s`;
const print = (line: string) => process.stdout.write(`${line}\n`);
const paint = (colour: Colour, text: string) =>
  process.stdout.isTTY ? styleText(colour, text) : text;
const ending = askedToEnd();

const told = await demo().catch((error: unknown) => {
  if (ending.aborted) return undefined;
  if (!(error instanceof CannotStart)) throw error;
  process.stderr.write(`demo: ${error.message}\n`);
  return undefined;
});
print('');
if (told === undefined) {
  print('The story was not told to its end.');
  process.exitCode = 1;
} else {
  const { asClaimed, steps } = told;
  const line = `${asClaimed} of ${steps} steps were as claimed, in ${seconds().trim()} together.`;
  print(paint(asClaimed === steps ? 'green' : 'red', line));
  process.exitCode = asClaimed === steps ? 0 : 1;
}

async function demo(): Promise<Told> {
  const { story } = (await import(pathToFileURL(resolve(storyFile)).href)) as { story: Story };
  const files = besideApp(here('../storefront/app.ts'), {});
  const report = (step: string) => print(paint('dim', `${seconds()}  ${step}`));
  const options = { files, durable: false, wan: false, report, signal: ending };
  try {
    return await inThrowAwayWorld(options, async (world) => {
      try {
        return await tellStory(story, stageOf(world));
      } finally {
        print('');
        report('ending the world and removing it');
      }
    });
  } finally {
    report('nothing is left of it');
  }
}

function stageOf(world: World) {
  return {
    edgeOf: (region: string) => {
      const url = world.catalogue.regions.get(region)?.edges[0]?.url;
      if (url === undefined) throw new RangeError(`no edge in ${region}`);
      return url;
    },
    kill: async (edge: string) => {
      const child = world.edges.get(edge);
      if (child === undefined) throw new RangeError(`no edge ${edge}`);
      child.kill('SIGKILL');
      await child.ended;
    },
    start: (edge: string) => world.startEdge(edge),
    print,
    paint,
    columns: Math.max(COLUMNS_MIN, Math.min(COLUMNS_MAX, process.stdout.columns ?? COLUMNS_MAX)),
    now: () => performance.now(),
    pause: (ms: number) => pause(ms),
    ending,
  };
}

/** The first signal ends the story and the world; another one while that is under way adds nothing. */
function askedToEnd(): AbortSignal {
  const controller = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => controller.abort());
  }
  return controller.signal;
}
