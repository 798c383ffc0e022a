/**
 * What do the commands about one region's backups have in common?
 *
 * They work on the running local world: the region they were given, the place of its backups, the
 * login that replicates, and how the servers are run.
 */
import { realpath } from 'node:fs/promises';
import { join } from 'node:path';
import type { Region } from '../../regions/catalogue.ts';
import { CannotStart } from '../../regions/local/cannot-start.ts';
import { STANDBY_ROLE } from '../../regions/local/postgres-settings.ts';
import { serverUser } from '../../regions/local/process-user.ts';
import { standbySecret } from '../../regions/local/start-clusters.ts';
import { worldRoot } from '../../regions/local/world-folder.ts';
import { nearest } from '../../regions/yaml-suggestion.ts';
import { type LocalWorld, openLocalWorld } from '../local-operator.ts';
import { type ArchiveFolder, archiveAt, backupPlace } from './archive-folder.ts';
import type { ReplicationLogin } from './region-nodes.ts';

export type RegionOptions = { region: string; root: string };

export type BackedUpRegion = LocalWorld & {
  region: Region;
  folder: ArchiveFolder;
  /** Where the servers of this world find their way. */
  place: string;
  login: ReplicationLogin;
};

/** @throws CannotStart when no world runs there, or it has no such region. */
export async function openRegion({
  region: id,
  root: path,
}: RegionOptions): Promise<BackedUpRegion> {
  const world = await openLocalWorld(path);
  const { catalogue, password } = world.operator;
  const region = catalogue.regions.get(id);
  if (region === undefined) {
    const near = nearest(id, [...catalogue.regions.keys()]);
    const hint = near === undefined ? '' : ` Did you mean ${near}?`;
    throw new CannotStart(
      `There is no region ${id}; there are ${[...catalogue.regions.keys()].join(', ')}.${hint}`,
    );
  }
  const root = (await worldRoot(path)) ?? path;
  const user = serverUser(process.geteuid?.());
  return {
    ...world,
    region,
    folder: archiveAt(await backupPlace(root, region), user),
    place: await realpath(join(root, 'postgres')),
    login: { user: STANDBY_ROLE, password: password(standbySecret(id)) },
  };
}
