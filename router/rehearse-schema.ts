/**
 * Which tables would this `schema.sql` make?
 *
 * Only PostgreSQL can say. So the script is run, as a region would run it, in a cluster of its own
 * that lives for a few seconds in a temporary folder and is gone afterwards, however that ends.
 */
import { chmod, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { DatabaseSchema } from '../policies/database-schema.ts';
import type { Catalogue, RegionId } from '../regions/catalogue.ts';
import { CannotStart } from '../regions/local/cannot-start.ts';
import { freePorts } from '../regions/local/ports.ts';
import { type LocalClusters, startClusters } from '../regions/local/start-clusters.ts';
import { wipe } from '../regions/local/wipe-world.ts';
import { type Endpoint, LeasePool, runScript } from '../regions/postgres.ts';
import { DatabaseError } from '../regions/postgres-failure.ts';
import { readSchema } from './read-schema.ts';
import { LOGINS } from './region-database.ts';

export type Rehearsal =
  | { kind: 'made'; schema: DatabaseSchema }
  /** PostgreSQL's objection, with file, line and column where it gives one. */
  | { kind: 'refused'; complaint: string };

export type RehearsalOptions = {
  /** As a person should read it in complaints. */
  file: string;
  text: string;
  /** Scripts that change those tables later, in order. */
  further?: readonly { file: string; text: string }[];
  /** `domicile.here()` answers with it. */
  region: RegionId;
  /** Aborting it ends the cluster and removes the folder. */
  signal?: AbortSignal;
};

const NODE = 'rehearsal';
const SCHEMA = join(dirname(fileURLToPath(import.meta.url)), '..', 'regions', 'schema');
/** A script that loads data may take its time. */
const limits = { timeoutMs: 60_000 };

/** @throws CannotStart when no cluster can be started here. */
export async function rehearseSchema(options: RehearsalOptions): Promise<Rehearsal> {
  const parent = await mkdtemp(join(tmpdir(), 'domicile-rehearsal-'));
  const root = join(parent, 'world');
  let clusters: LocalClusters | undefined;
  try {
    // As root the server runs as somebody else, who has to get in.
    await chmod(parent, 0o711);
    const [port = 0] = await freePorts(1);
    clusters = await startClusters({
      root,
      catalogue: oneNode(port),
      durable: false,
      report: () => {},
      ...(options.signal !== undefined && { signal: options.signal }),
    });
    return await run(clusters.superuser(NODE), options);
  } finally {
    await clusters?.stop().catch(() => {});
    // Ends what may still run on this data, whatever went wrong before.
    await wipe(root, () => {});
    await rm(parent, { recursive: true, force: true });
  }
}

async function run(
  endpoint: Endpoint,
  { file, text, further = [], region, signal }: RehearsalOptions,
): Promise<Rehearsal> {
  const names = (await readdir(SCHEMA)).filter((name) => /^\d/.test(name)).sort();
  // The scripts grant to them; nobody logs in here.
  const roles = Object.values(LOGINS).map((role) => `create role ${role};`);
  await runScript(endpoint, roles.join('\n'), limits);
  for (const name of names) {
    const own = await readFile(join(SCHEMA, name), 'utf8');
    await runScript(endpoint, `begin;\n${own.replaceAll('{{region}}', region)}\n;commit;`, limits);
  }
  goOn(signal);
  await runScript(endpoint, 'create schema app', limits);
  const before = 'begin;\nset local search_path = app;\n';
  for (const one of [{ file, text }, ...further]) {
    goOn(signal);
    try {
      await runScript(endpoint, `${before}${one.text}\n;commit;`, limits);
    } catch (error) {
      if (!(error instanceof DatabaseError)) throw error;
      return { kind: 'refused', complaint: objection(one.file, one.text, before.length, error) };
    }
  }
  goOn(signal);
  const pool = new LeasePool({
    endpoint,
    connectionsMax: 1,
    waitersMax: 1,
    connectTimeoutMs: limits.timeoutMs,
  });
  try {
    return { kind: 'made', schema: await pool.run(readSchema, limits) };
  } finally {
    await pool.close({ timeoutMs: 1_000 });
  }
}

function goOn(signal: AbortSignal | undefined): void {
  if (signal?.aborted === true) throw new CannotStart('Stopped while the schema was rehearsed');
}

function objection(file: string, text: string, before: number, error: DatabaseError): string {
  const { failure } = error;
  const at = failure.kind === 'rejected' ? (failure.position ?? 0) - before : 0;
  if (at < 1 || at > text.length + 1) return `${file}  ${error.message}`;
  const lines = [...text]
    .slice(0, at - 1)
    .join('')
    .split('\n');
  return `${file}:${lines.length}:${(lines.at(-1)?.length ?? 0) + 1}  ${error.message}`;
}

function oneNode(port: number): Catalogue {
  const nodes = [{ name: NODE, host: '127.0.0.1', port }];
  const region = { id: NODE, title: NODE, database: NODE, edges: [], nodes, airlocks: [] };
  return { regions: new Map([[NODE, region]]), distances: [] };
}
