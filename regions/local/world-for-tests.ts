/**
 * How does a test get a local world of its own, and leave nothing behind?
 *
 * Each one has its own folder and its own ports, so test files can run side by side. `remove` works
 * whatever state the test left things in: running, frozen, killed or half made.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Catalogue, Region } from '../catalogue.ts';
import { LeasePool, type Sql } from '../postgres.ts';
import { portsNeeded, withPorts } from './catalogue-ports.ts';
import { freePorts } from './ports.ts';
import { postgresPidsOn } from './process-identity.ts';
import { type LocalClusters, type StartOptions, startClusters } from './start-clusters.ts';
import { dataDirectories } from './world-folder.ts';

export type TestWorld = {
  root: string;
  catalogue: Catalogue;
  /** What was said since the last start. */
  steps: string[];
  /** Ends that nobody asked for. */
  exits: string[];
  start(options?: Partial<StartOptions>): Promise<LocalClusters>;
  remove(): Promise<void>;
};

/** A region with two nodes and an airlock, on ports that are to be replaced. */
export function testRegion(id: string, peers: readonly string[] = []): Region {
  const at = (name: string, port: number) => ({ name, host: '127.0.0.1', port });
  return {
    id,
    title: `Region ${id}`,
    database: 'app',
    edges: [],
    nodes: [at(`${id}-a`, 1), at(`${id}-b`, 2)],
    airlocks: [{ ...at(`${id}-airlock`, 3), peers }],
  };
}

export function testCatalogue(ids: readonly string[]): Catalogue {
  const region = (id: string) =>
    testRegion(
      id,
      ids.filter((peer) => peer !== id),
    );
  return { regions: new Map(ids.map((id) => [id, region(id)])), distances: [] };
}

export async function makeTestWorld(ids: readonly string[] = ['us']): Promise<TestWorld> {
  const parent = await mkdtemp(join(tmpdir(), 'domicile-test-'));
  // As root the servers run as somebody else, who has to get in.
  await chmod(parent, 0o711);
  const root = join(parent, 'world');
  const blank = testCatalogue(ids);
  const catalogue = withPorts(blank, await freePorts(portsNeeded(blank)));
  const started: LocalClusters[] = [];
  const world: TestWorld = {
    root,
    catalogue,
    steps: [],
    exits: [],
    async start(options = {}) {
      world.steps = [];
      world.exits = [];
      const clusters = await startClusters({
        root,
        catalogue,
        durable: false,
        report: (step) => void world.steps.push(step),
        onExit: (node, code, signal) => void world.exits.push(`${node} ${signal ?? code}`),
        ...options,
      });
      started.push(clusters);
      return clusters;
    },
    async remove() {
      for (const clusters of started) await clusters.stop().catch(() => {});
      const data = await dataDirectories(root);
      for (const pid of data.flatMap(postgresPidsOn)) process.kill(pid, 'SIGKILL');
      await rm(parent, { recursive: true, force: true, maxRetries: 20 });
    },
  };
  return world;
}

/** Runs statements as superuser on a node, in a connection that ends with them. */
export async function ask<T>(
  clusters: Pick<LocalClusters, 'superuser'>,
  node: string,
  use: (sql: Sql) => Promise<T>,
  timeoutMs = 20_000,
): Promise<T> {
  const endpoint = clusters.superuser(node);
  const pool = new LeasePool({
    endpoint,
    connectionsMax: 1,
    waitersMax: 1,
    connectTimeoutMs: 5_000,
    settings: {},
  });
  try {
    return await pool.run(use, { timeoutMs });
  } finally {
    await pool.close({ timeoutMs: 1_000 });
  }
}

export type KilledSupervisor = {
  /** Resolves when it has said so; false when it ended before. */
  said(step: RegExp): Promise<boolean>;
  /** Without a warning, as a person or the kernel would. */
  kill(): Promise<void>;
};

/** A supervisor of this world in a process of its own, so that it can be killed. */
export function superviseElsewhere(world: TestWorld): KilledSupervisor {
  const given = { root: world.root, regions: [...world.catalogue.regions] };
  const script = join(import.meta.dirname, 'supervisor-for-tests.ts');
  const child = spawn(process.execPath, [script, JSON.stringify(given)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = once(child, 'exit');
  const lines = createInterface({ input: child.stdout });
  return {
    async said(step) {
      for await (const line of lines) if (step.test(line)) return true;
      return false;
    },
    async kill() {
      child.kill('SIGKILL');
      await ended;
    },
  };
}
