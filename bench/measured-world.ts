/** What do measurements run against? The storefront's tables with handlers made to be measured. */
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { inThrowAwayWorld } from '../router/throw-away-world.ts';
import type { World } from '../router/world.ts';

const here = dirname(fileURLToPath(import.meta.url));
const storefront = join(here, '..', 'examples', 'storefront');

/** The measured handlers with the storefront's tables, policy and regions. */
export const FILES = {
  app: join(here, 'measured-app.ts'),
  policy: join(storefront, 'residency.yaml'),
  regions: join(storefront, 'regions.yaml'),
  schema: join(storefront, 'schema.sql'),
  migrations: join(storefront, 'migrations'),
};

export type Bench = { world: World; root: string; report: (line: string) => void };

export function inWorld<T>(
  options: { wan: boolean; report: (line: string) => void; signal: AbortSignal },
  measure: (bench: Bench) => Promise<T>,
): Promise<T> {
  const { report } = options;
  return inThrowAwayWorld({ ...options, files: FILES, durable: true }, (world, root) =>
    measure({ world, root, report }),
  );
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
