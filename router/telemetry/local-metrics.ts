/**
 * Where do edges and keepers of a local world answer `/metrics`, and how does a Prometheus find them?
 *
 * On this machine alone, on ports that were free at the start. They are written to one file in the
 * form of Prometheus's own `file_sd_configs`, so that a scrape configuration need not name them.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Catalogue, RegionId } from '../../regions/catalogue.ts';
import { freePorts } from '../../regions/local/ports.ts';

export const TARGETS_FILE = join('run', 'prometheus.json');
const HOST = '127.0.0.1';
/** What is recorded where one person looks: everything. */
const LOCAL_TRACE_RATIO = '1';

/** Settings for each edge and keeper, by its name. */
export type LocalMetrics = ReadonlyMap<string, Readonly<Record<string, string>>>;

/** `environment` is of whoever starts the world: its collector is that of the others as well. */
export async function localMetrics(
  root: string,
  catalogue: Catalogue,
  keepers: readonly { name: string; region: RegionId }[],
  environment: Readonly<Record<string, string | undefined>>,
): Promise<LocalMetrics> {
  const edges = [...catalogue.regions.values()].flatMap(({ id, edges }) =>
    edges.map(({ name }) => ({ name, region: id, kind: 'edge' })),
  );
  const all = [...edges, ...keepers.map((keeper) => ({ ...keeper, kind: 'keeper' }))];
  const ports = await freePorts(all.length, HOST);
  const at = all.map((one, i) => ({ ...one, address: `${HOST}:${ports[i]}` }));
  const targets = at.map(({ name, region, kind, address }) => ({
    targets: [address],
    labels: { region, [kind]: name },
  }));
  await writeFile(join(root, TARGETS_FILE), `${JSON.stringify(targets, null, 2)}\n`);
  const given = Object.entries(environment).flatMap(([name, value]) =>
    value !== undefined && /^(OTEL_|DOMICILE_TRACE_)/.test(name) ? [[name, value] as const] : [],
  );
  return new Map(
    at.map(({ name, address }) => [
      name,
      {
        DOMICILE_TRACE_RATIO: LOCAL_TRACE_RATIO,
        ...Object.fromEntries(given),
        DOMICILE_METRICS_LISTEN: address,
      },
    ]),
  );
}
