/**
 * `domicile up`: the local world in a terminal.
 *
 * Says each step while it does it, then what to try, then stays until it is asked to end.
 */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import type { Catalogue } from '../regions/catalogue.ts';
import { fromBasePort } from '../regions/local/catalogue-ports.ts';
import type { ChildExit } from '../regions/local/child-process.ts';
import { nameBeside } from '../regions/own-module.ts';
import { besideApp, readFiles } from './read-files.ts';
import { TARGETS_FILE } from './telemetry/local-metrics.ts';
import { welcome } from './welcome.ts';
import { startWorld, type World } from './world.ts';

/** From one base backup of a region to the next. */
const BACKUP_EVERY_MS = 24 * 3_600_000;

export type UpOptions = {
  app: string;
  policy?: string;
  regions?: string;
  schema?: string;
  root: string;
  basePort?: string;
  wan?: boolean;
  /** Every link through Toxiproxy, with or without the distances of `wan`. */
  links?: 'all';
  recordWire?: boolean;
  seed?: boolean;
  durable: boolean;
  /** `YYYY-MM-DD`, for policies that are effective from a later day. */
  today: string;
  /** Without it the log is not archived and no base backups are taken. */
  backups: boolean;
  /** Who starts the world, for the record of policy versions. */
  by: string;
  environment: Readonly<Record<string, string | undefined>>;
  /** Monotonic milliseconds. */
  now: () => number;
  wallClock: () => number;
  print: (line: string) => void;
  ending: AbortSignal;
};

export type UpOutcome = { kind: 'ended' } | { kind: 'refused'; complaints: readonly string[] };

export async function up(options: UpOptions): Promise<UpOutcome> {
  const { print, now, ending } = options;
  const startedAtMs = now();
  const files = besideApp(resolve(options.app), options);
  const read = await readFiles(files);
  if ('complaints' in read) return { kind: 'refused', complaints: read.complaints };
  const catalogue = moved(read.catalogue, options.basePort);
  if (catalogue === undefined) {
    return {
      kind: 'refused',
      complaints: [`--base-port  "${options.basePort}" leaves no room below 65536`],
    };
  }
  const seconds = () => `${((now() - startedAtMs) / 1000).toFixed(1).padStart(5)} s`;
  const report = (step: string) => print(`${seconds()}  ${step}`);
  let ready = false;
  const starting = startWorld({
    root: options.root,
    files,
    catalogue,
    policy: read.policy,
    durable: options.durable,
    today: options.today,
    by: options.by,
    wan: options.wan === true,
    betweenLinks: options.links === 'all',
    innerLinks: options.links === 'all',
    keepers: true,
    recordWire: options.recordWire === true,
    ...(options.backups && { backups: { everyMs: BACKUP_EVERY_MS, wallClock: options.wallClock } }),
    metrics: true,
    environment: options.environment,
    report,
    onExit: (name, exit) => {
      if (!ready || ending.aborted) return;
      const isKept = [...catalogue.regions.values()].some(({ keeper, nodes }) => {
        return keeper !== undefined && nodes.some((node) => node.name === name);
      });
      report(ended(name, exit, options.root, isKept));
    },
    signal: ending,
  });
  let world: World;
  try {
    world = await starting;
  } catch (error) {
    if (!ending.aborted) throw error;
    report('ended while starting; the next start goes on from here');
    return { kind: 'ended' };
  }
  ready = true;
  report('ready');
  try {
    if (options.seed === true) await seed(files.app, world, options);
    const targets = join(options.root, TARGETS_FILE);
    for (const line of welcome(files.app, catalogue, targets, options.root)) print(line);
    await new Promise<void>((resolveEnd) => {
      if (ending.aborted) resolveEnd();
      ending.addEventListener('abort', () => resolveEnd());
    });
  } finally {
    print('');
    report('ending edges, then airlocks, primaries and replicas');
    await world.stop();
    report(`ended; the data stays in ${options.root}`);
  }
  return { kind: 'ended' };
}

function moved(catalogue: Catalogue, base: string | undefined): Catalogue | undefined {
  if (base === undefined) return catalogue;
  const port = /^\d{1,5}$/.test(base) ? Number(base) : Number.NaN;
  return port > 0 && port < 65_500 ? fromBasePort(catalogue, port) : undefined;
}

function ended(name: string, { code, signal }: ChildExit, root: string, isKept: boolean): string {
  const how = signal === null ? `with status ${code}` : `by ${signal}`;
  const next = isKept ? 'Its keeper brings it back.' : 'Start again to recover it.';
  return `${name} ended ${how}; its log is below ${root}. ${next}`;
}

/** The sample data goes through the edges like everybody's; the app folder's `seed.ts` knows it. */
async function seed(app: string, world: World, { print, ending }: UpOptions): Promise<void> {
  const script = join(dirname(app), nameBeside(app, 'seed'));
  if (!existsSync(script)) {
    print(`There is no ${script}, so nothing is seeded.`);
    return;
  }
  const edges = [...world.catalogue.regions.values()].map(
    ({ id, edges: [edge] }) => `${id}=${edge?.url}`,
  );
  const child = spawn(process.execPath, [script, ...edges], {
    stdio: ['ignore', 'inherit', 'inherit'],
    signal: ending,
  });
  const failure = await new Promise<string | undefined>((done) => {
    child.on('error', (error) => done(error.message));
    child.on('exit', (code, signal) => done(code === 0 ? undefined : `status ${code ?? signal}`));
  });
  if (failure !== undefined && !ending.aborted) {
    print(`Seeding ended with ${failure}. Start with --seed again to add what is missing.`);
  }
}
