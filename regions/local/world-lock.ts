/**
 * Which supervisor, if any, runs this world, and which keeper keeps a region?
 *
 * A lock is a file named by a number that only grows. To take it is to create the next
 * number, which the file system grants to one process only; to leave is to mark the file. Nobody
 * ever removes the newest file, so two processes that both find a dead one's lock cannot both
 * take it. A holder counts as alive only if its pid was born when the lock says.
 */
import { link, mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { CannotStart } from './cannot-start.ts';
import { birthOf } from './process-identity.ts';

const LOCK_FILE = /^lock\.(\d+)$/;

export type Holder = { pid: number; born: string };
export type Lock = { release(): Promise<void> };

/** Who runs the world in this folder; undefined when nobody alive does. */
export async function worldHolder(root: string): Promise<Holder | undefined> {
  const newest = (await lockNumbers(root)).at(-1);
  return newest === undefined ? undefined : livingHolder(root, newest);
}

export function takeWorld(root: string): Promise<Lock> {
  return takeLock(
    root,
    ({ pid }) =>
      `The world in ${root} already runs: process ${pid} started it. Stop that one first.`,
  );
}

/** @throws CannotStart, in these words, when a living process holds the lock of this folder. */
export async function takeLock(root: string, taken: (holder: Holder) => string): Promise<Lock> {
  const born = birthOf(process.pid);
  if (born === undefined) throw new Error('This process cannot see itself');
  await mkdir(root, { recursive: true });
  const desk = await mkdtemp(join(root, 'taking.'));
  try {
    const draft = join(desk, 'lock');
    await writeFile(draft, JSON.stringify({ pid: process.pid, born } satisfies Holder));
    for (;;) {
      const numbers = await lockNumbers(root);
      const newest = numbers.at(-1) ?? 0;
      const holder = newest === 0 ? undefined : await livingHolder(root, newest);
      if (holder !== undefined) {
        throw new CannotStart(taken(holder));
      }
      const path = join(root, `lock.${newest + 1}`);
      // A link appears with its content, all at once; a created file would be empty for a moment.
      if (!(await linkIfFree(draft, path))) continue;
      // The one before the newest stays: a slow reader of the folder may know only that one.
      for (const old of numbers.slice(0, -1)) await rm(join(root, `lock.${old}`), { force: true });
      return { release: () => markReleased(path) };
    }
  } finally {
    await rm(desk, { recursive: true, force: true });
  }
}

/** Gives a file its second name; false when that name is taken. The file system grants it once. */
export async function linkIfFree(from: string, to: string): Promise<boolean> {
  try {
    await link(from, to);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

async function markReleased(path: string): Promise<void> {
  const draft = `${path}.released`;
  try {
    await writeFile(draft, '{}');
    await rename(draft, path);
  } catch (error) {
    // The whole folder was wiped meanwhile: then nothing is locked either.
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
}

async function livingHolder(root: string, number: number): Promise<Holder | undefined> {
  // A file that has just been cleared away was not the newest, so taking the world will tell.
  const text = await readFile(join(root, `lock.${number}`), 'utf8').catch(() => '{}');
  const { pid, born } = JSON.parse(text) as Partial<Holder>;
  if (pid === undefined || born === undefined) return undefined;
  return birthOf(pid) === born ? { pid, born } : undefined;
}

async function lockNumbers(root: string): Promise<number[]> {
  const names = await readdir(root).catch(() => []);
  return names
    .map((name) => Number(LOCK_FILE.exec(name)?.[1] ?? 0))
    .filter((number) => number > 0)
    .sort((a, b) => a - b);
}
