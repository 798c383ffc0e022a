/**
 * Loads the storefront's sample data through the edges of a running world:
 *
 *     node examples/storefront/seed.ts us=http://127.0.0.1:7101 eu=http://127.0.0.1:7102
 *
 * `domicile up --seed` does this. It can be cut off and run again: what is there is found, what is
 * missing is added.
 */
import { performance } from 'node:perf_hooks';
import { setTimeout as pause } from 'node:timers/promises';
import { Command, InvalidArgumentError } from 'commander';
import { type EdgeClient, edgeClient } from './edge-client.ts';
import { seedData } from './seed-data.ts';
import { send, type Tally } from './seed-sender.ts';

/** Two per connection of an edge to its primary: enough to keep them busy, too few to queue long. */
const CONCURRENCY = 32;
const TELL_EVERY_MS = process.stderr.isTTY ? 200 : 5_000;

const { opts, args } = options();
const { users: userCount, orders: orderCount, seed } = opts;
const startedAtMs = performance.now();
const seconds = () => ((performance.now() - startedAtMs) / 1000).toFixed(1);
const edges = args.map(client);
const users = seedData({ users: userCount, orders: orderCount, seed });

let toldAtMs = startedAtMs;
const outcome = await send({
  edges,
  users,
  concurrency: CONCURRENCY,
  pause,
  onProgress: (tally) => {
    if (performance.now() - toldAtMs < TELL_EVERY_MS) return;
    toldAtMs = performance.now();
    tell(progress(tally));
  },
});
if (process.stderr.isTTY) process.stderr.write('\r\x1b[K');
for (const edge of edges) edge.close();

if (outcome.kind === 'refused') {
  process.stderr.write(`seed: stopped after ${seconds()} s\n  ${outcome.why}\n`);
  process.exitCode = 1;
} else {
  for (const line of summary(outcome.tally)) process.stdout.write(`${line}\n`);
}

function options() {
  const command = new Command('seed')
    .description('Loads the storefront’s sample data through the edges of a running world.')
    .argument('<region=url...>', 'every edge to use, such as us=http://127.0.0.1:7101')
    .option('--users <n>', 'how many users', whole, 10_000)
    .option('--orders <n>', 'how many orders', whole, 50_000)
    .option('--seed <n>', 'another number, other data', whole, 1)
    .parse();
  return {
    opts: command.opts<{ users: number; orders: number; seed: number }>(),
    args: command.args,
  };
}

function whole(text: string): number {
  if (!/^\d{1,15}$/.test(text)) throw new InvalidArgumentError('Not a whole number.');
  return Number(text);
}

function client(text: string): EdgeClient {
  const [, region, url] = /^([a-z][a-z0-9-]*)=(http:\/\/.+)$/.exec(text) ?? [];
  if (region === undefined || url === undefined || !URL.canParse(url)) {
    process.stderr.write(`seed: "${text}" is not of the form region=http://host:port\n`);
    process.exit(2);
  }
  return edgeClient(region, new URL(url).origin, CONCURRENCY);
}

function tell(line: string): void {
  process.stderr.write(process.stderr.isTTY ? `\r\x1b[K${line}` : `${line}\n`);
}

function progress({ users: u, orders: o }: Readonly<Tally>): string {
  const done = u.created + u.found;
  return `seeding ${seconds()} s: ${done} of ${userCount} users, ${o.created + o.found} orders`;
}

/** Where everybody is at home now, by the part of the world they live in. */
function summary(tally: Tally): string[] {
  const { users: u, orders: o, changes, requests, retries, homes, edges: taken } = tally;
  const regions = [...new Set([...homes.values()].flatMap((of) => [...of.keys()]))].sort();
  const sum = (of: Map<string, number> | undefined) =>
    [...(of?.values() ?? [])].reduce((all, one) => all + one, 0);
  const row = (title: string, numbers: readonly (number | string)[]) =>
    `  ${title.padEnd(12)}${numbers.map((one) => String(one).padStart(9)).join('')}`;
  const areas = [...homes.keys()].sort();
  const countries = new Set(users.map(({ country }) => country)).size;
  return [
    `Seeded in ${seconds()} s: ${u.created} users (${u.found} were there), ${o.created} orders (${o.found}), ` +
      `${changes.created} status changes (${changes.found}); ${requests} requests, ${retries} retries.`,
    '',
    `  ${userCount} users of ${countries} countries, and where the policy put them:`,
    '',
    row('lives in', [...regions.map((home) => `home ${home}`), 'together']),
    ...areas.map((area) => {
      const of = homes.get(area);
      return row(area, [...regions.map((home) => of?.get(home) ?? 0), sum(of)]);
    }),
    row('together', [
      ...regions.map((home) =>
        areas.reduce((all, area) => all + (homes.get(area)?.get(home) ?? 0), 0),
      ),
      areas.reduce((all, area) => all + sum(homes.get(area)), 0),
    ]),
    '',
    `  Taken in by the edge of ${[...taken]
      .map(([region, of]) => `${region}: ${of.users} users, ${of.orders} orders`)
      .join('; ')}.`,
  ];
}
