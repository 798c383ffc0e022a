/**
 * A world for one purpose: on free ports, in a folder of its own, and gone afterwards, however the
 * purpose ends. Demos and measurements use it; an app's own tests can, too.
 */
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CannotStart } from '../regions/local/cannot-start.ts';
import { portsNeeded, withPorts } from '../regions/local/catalogue-ports.ts';
import { freePorts } from '../regions/local/ports.ts';
import { wipe } from '../regions/local/wipe-world.ts';
import { type AppFiles, readFiles } from './read-files.ts';
import { startWorld, type World } from './world.ts';

export type ThrowAwayOptions = {
  files: AppFiles;
  durable: boolean;
  wan: boolean;
  keepers?: boolean;
  innerLinks?: boolean;
  /** Further settings of every edge. */
  edgeSettings?: Readonly<Record<string, string>>;
  report: (step: string) => void;
  /** Aborting it ends a start that is under way. */
  signal: AbortSignal;
};

/** @throws CannotStart with every complaint when the app's files are not sound. */
export async function inThrowAwayWorld<T>(
  options: ThrowAwayOptions,
  use: (world: World, root: string) => Promise<T>,
): Promise<T> {
  const { files, durable, wan, keepers, innerLinks, edgeSettings = {}, report, signal } = options;
  const read = await readFiles(files);
  if ('complaints' in read) throw new CannotStart(read.complaints.join('\n'));
  const catalogue = withPorts(read.catalogue, await freePorts(portsNeeded(read.catalogue)));
  const parent = await mkdtemp(join(tmpdir(), 'domicile-'));
  // As root the servers run as somebody else, who has to get in.
  await chmod(parent, 0o711);
  const root = join(parent, 'world');
  let world: World | undefined;
  try {
    world = await startWorld({
      root,
      files,
      catalogue,
      policy: read.policy,
      durable,
      wan,
      keepers: keepers === true,
      innerLinks: innerLinks === true,
      environment: {},
      edgeSettings,
      report,
      signal,
    });
    return await use(world, root);
  } finally {
    try {
      await world?.stop();
    } finally {
      // Ends what may still run on this data, whatever went wrong before.
      await wipe(root, () => {});
      await rm(parent, { recursive: true, force: true });
    }
  }
}
