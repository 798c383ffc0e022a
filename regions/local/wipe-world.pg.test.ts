import {
  mkdir,
  mkdtemp,
  readdir,
  readlink,
  realpath,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { postmasterOn } from './postmaster-file.ts';
import { isAlive } from './process-identity.ts';
import { wipe } from './wipe-world.ts';
import { dataDirectories } from './world-folder.ts';
import { ask, makeTestWorld, superviseElsewhere, type TestWorld } from './world-for-tests.ts';

const IS_ROOT = process.geteuid?.() === 0;
const quiet = () => {};

let world: TestWorld;

beforeAll(async () => {
  world = await makeTestWorld();
});
afterAll(() => world.remove());

test('a running world is not wiped, and the one who runs it is named', async () => {
  const clusters = await world.start();
  await expect(wipe(world.root, quiet)).rejects.toThrow(`process ${process.pid} started it`);
  expect(await ask(clusters, 'us-a', (sql) => sql`select 1 as up`)).toEqual([{ up: 1 }]);
  await clusters.stop();
});

test('a world of a killed supervisor is wiped, and its servers end first', async () => {
  const supervisor = superviseElsewhere(world);
  expect(await supervisor.said(/everything runs/)).toBe(true);
  await supervisor.kill();
  const data = await dataDirectories(world.root);
  const pids = (await Promise.all(data.map(postmasterOn))).filter((pid) => pid !== undefined);
  expect(pids).toHaveLength(3);

  expect(await wipe(world.root, quiet)).toBe(true);
  expect(pids.filter(isAlive)).toEqual([]);
  await expect(stat(world.root)).rejects.toThrow('ENOENT');
});

test('wiping what is not there says so, and what is no world is refused untouched', async () => {
  expect(await wipe(world.root, quiet)).toBe(false);
  await mkdir(world.root);
  await writeFile(join(world.root, 'thesis.txt'), 'years of work');
  await expect(wipe(world.root, quiet)).rejects.toThrow('is not a Domicile world');
  expect(await readdir(world.root)).toEqual(['thesis.txt']);
  await rm(world.root, { recursive: true });
});

test.runIf(IS_ROOT)(
  'below a folder that only root may enter, the data goes elsewhere',
  async () => {
    const closed = await mkdtemp(join(tmpdir(), 'domicile-test-'));
    expect((await stat(closed)).mode & 0o777).toBe(0o700);
    const root = join(closed, 'world');
    try {
      let clusters = await world.start({ root });
      const place = await readlink(join(root, 'postgres'));
      expect(world.steps).toContain(
        `user 65534, as whom the servers run, cannot enter ${root}; the data goes to ${place}`,
      );
      expect(clusters.dataDirectory('us-a')).toBe(`${await realpath(place)}/clusters/us-a/data`);
      await ask(clusters, 'us-a', (sql) => sql`create table kept ()`);
      await clusters.stop();

      clusters = await world.start({ root });
      expect(world.steps).toContain(`the data of ${root} lies in ${place}`);
      expect(
        await ask(clusters, 'us-b', (sql) => sql`select to_regclass('kept')::text as is`),
      ).toEqual([{ is: 'kept' }]);
      await clusters.stop();

      expect(await wipe(root, quiet)).toBe(true);
      await expect(stat(place)).rejects.toThrow('ENOENT');
    } finally {
      await rm(closed, { recursive: true, force: true });
    }
  },
);

test.runIf(IS_ROOT)(
  'a link bent to a strange folder leads neither a start nor a wipe there',
  async () => {
    const closed = await mkdtemp(join(tmpdir(), 'domicile-test-'));
    const strange = await mkdtemp(join(tmpdir(), 'domicile-world-'));
    try {
      await writeFile(join(strange, 'thesis.txt'), 'years of work');
      await writeFile(join(closed, 'domicile-world.json'), '{}');
      await symlink(strange, join(closed, 'postgres'));
      await expect(world.start({ root: closed })).rejects.toThrow('belongs to another world');
      expect(await wipe(closed, quiet)).toBe(true);
      expect(await readdir(strange)).toEqual(['thesis.txt']);
    } finally {
      await rm(closed, { recursive: true, force: true });
      await rm(strange, { recursive: true, force: true });
    }
  },
);
