/** A throw-away world for a measurement; it is gone afterwards, however the measurement ends. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { portsNeeded, withPorts } from '../regions/local/catalogue-ports.ts';
import { freePorts } from '../regions/local/ports.ts';
import { wipe } from '../regions/local/wipe-world.ts';
import { readFiles } from '../router/read-files.ts';
import { startWorld, type World } from '../router/world.ts';

const here = dirname(fileURLToPath(import.meta.url));
const storefront = join(here, '..', 'examples', 'storefront');

/** The measured handlers with the storefront's tables, policy and regions. */
const FILES = {
  app: join(here, 'measured-app.ts'),
  policy: join(storefront, 'residency.yaml'),
  regions: join(storefront, 'regions.yaml'),
  schema: join(storefront, 'schema.sql'),
};

export type Bench = { world: World; root: string; report: (line: string) => void };

export async function inWorld<T>(
  options: { wan: boolean; report: (line: string) => void; ending: AbortSignal },
  measure: (bench: Bench) => Promise<T>,
): Promise<T> {
  const { wan, report, ending } = options;
  const read = await readFiles(FILES);
  if ('complaints' in read) throw new Error(read.complaints.join('\n'));
  const catalogue = withPorts(read.catalogue, await freePorts(portsNeeded(read.catalogue)));
  const root = await mkdtemp(join(tmpdir(), 'domicile-bench-'));
  try {
    const world = await startWorld({
      root,
      files: FILES,
      catalogue,
      policy: read.policy,
      durable: true,
      wan,
      environment: {},
      report,
      signal: ending,
    });
    try {
      return await measure({ world, root, report });
    } finally {
      await world.stop();
    }
  } finally {
    await wipe(root, () => {});
    await rm(root, { recursive: true, force: true });
  }
}

/** A user at home in eu, and the session that its creation answered with. */
export async function signUp(edge: string, id: string): Promise<string> {
  const created = await fetch(`${edge}/users`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ id }),
  });
  const token = created.headers.get('domicile-session');
  if (token === null) throw new Error(`no session: ${created.status} ${await created.text()}`);
  return token;
}

export function edgeOf(world: World, region: string): string {
  const url = world.catalogue.regions.get(region)?.edges[0]?.url;
  if (url === undefined) throw new RangeError(`no edge in ${region}`);
  return url;
}
