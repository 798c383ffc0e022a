import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { readHistory } from './cluster-history.ts';
import { crc32c } from './cluster-identity.ts';
import { clusterTemplate, copyTemplate, type Template } from './cluster-template.ts';
import { initialiseCluster, makeDraft } from './initialise-cluster.ts';
import { type Binaries, findBinaries } from './platform-binaries.ts';
import { giveTo, serverUser } from './process-user.ts';
import type { LocalClusters } from './start-clusters.ts';
import { ask, makeTestWorld, type TestWorld } from './world-for-tests.ts';

const user = serverUser(process.geteuid?.());
const { signal } = new AbortController();
let parent: string;
let nodeFolder: string;
let binaries: Binaries;
let world: TestWorld;
let clusters: LocalClusters;

beforeAll(async () => {
  parent = await mkdtemp(join(tmpdir(), 'domicile-template-'));
  await chmod(parent, 0o711);
  nodeFolder = join(parent, 'node');
  await mkdir(nodeFolder);
  await giveTo(user, nodeFolder);
  binaries = await findBinaries(user, () => {});
  world = await makeTestWorld(['us', 'eu']);
  clusters = await world.start();
});
afterAll(async () => {
  await world.remove();
  await rm(parent, { recursive: true, force: true });
});

async function templateIn(folder: string): Promise<Template | undefined> {
  const scratch = await makeDraft(nodeFolder, user);
  return clusterTemplate({ folder, scratch, binaries, user, signal });
}

const templatesIn = async (folder: string) => (await readdir(folder)).sort();
const controlOf = (data: string) => readFile(join(data, 'global', 'pg_control'));

test('the checksum is the one that PostgreSQL uses', () => {
  expect(crc32c(Buffer.from('123456789'))).toBe(0xe3069283);
});

test('clusters of one world have identities of their own, in their files and by their own word', async () => {
  const primaries = ['us-a', 'eu-a', 'us-airlock', 'eu-airlock'];
  const said = await Promise.all(
    primaries.map((node) =>
      ask(
        clusters,
        node,
        (sql) => sql<{ id: string }[]>`
          select system_identifier::text as id from pg_control_system()`,
      ),
    ),
  );
  const ids = said.map(([row]) => BigInt(row?.id ?? 0));
  expect(new Set(ids).size).toBe(4);
  const replica = await ask(
    clusters,
    'us-b',
    (sql) => sql<{ id: string }[]>`
      select system_identifier::text as id from pg_control_system()`,
  );
  expect(BigInt(replica[0]?.id ?? 0)).toBe(ids[0]);
  for (const [n, node] of primaries.entries()) {
    expect((await readHistory(clusters.dataDirectory(node))).systemId).toBe(ids[n]);
  }
});

test('clusters of one world have different secrets against those who try names of roles', async () => {
  const controls = await Promise.all(
    ['us-a', 'eu-a'].map((node) => controlOf(clusters.dataDirectory(node))),
  );
  const nonces = controls.map((control) => {
    // The checksum is the last thing that is not zero.
    let end = control.length;
    while (control[end - 1] === 0) end--;
    const checksumAt = Math.ceil(end / 4) * 4 - 4;
    return control.subarray(checksumAt - 35, checksumAt - 3).toString('hex');
  });
  expect(nonces[0]).not.toBe(nonces[1]);
});

test('two that are made at the same time are one, and it is closed to other users', async () => {
  const folder = join(parent, 'twice');
  const both = await Promise.all([templateIn(folder), templateIn(folder)]);
  expect(both[0]).toBeDefined();
  expect(both[0]).toEqual(both[1]);
  expect(await templatesIn(folder)).toHaveLength(1);
  expect((await stat(both[0]?.data ?? '')).mode & 0o077).toBe(0);
});

test('a template with a damaged file of the same size is made again', async () => {
  const folder = join(parent, 'twice');
  const first = await templateIn(folder);
  const victim = join(first?.data ?? '', 'base', '1', 'PG_VERSION');
  await writeFile(victim, '17\n');
  expect(await templateIn(folder)).toEqual(first);
  expect(await readFile(victim, 'utf8')).toBe('18\n');
});

test('a template that others may change is not used, and initdb runs instead', async () => {
  const folder = join(parent, 'twice');
  const [name = ''] = await templatesIn(folder);
  await chmod(folder, 0o777);
  await chmod(join(folder, name), 0o777);
  expect(await templateIn(folder)).toBeUndefined();
  await chmod(folder, 0o755);
  await chmod(join(folder, name), 0o700);
  const own = join(parent, 'by-initdb');
  await mkdir(own);
  await giveTo(user, own);
  const how = { binaries, user, password: 'secret', durable: false, signal };
  await initialiseCluster({ ...how, nodeFolder: own, template: async () => undefined });
  expect((await readHistory(join(own, 'data'))).role).toBe('primary');
});

test('a durable copy has the whole log on disk, and another one only what is written', async () => {
  const template = await templateIn(join(parent, 'twice'));
  if (template === undefined) throw new Error('there is a place for it');
  const bytesOnDisk = async (durable: boolean) => {
    const to = join(await makeDraft(nodeFolder, user), 'data');
    await copyTemplate(template, to, { user, durable, signal });
    const { size, blocks } = await stat(join(to, 'pg_wal', template.log.name));
    expect(size).toBe(template.log.bytes);
    return blocks * 512;
  };
  expect(await bytesOnDisk(true)).toBeGreaterThanOrEqual(template.log.bytes);
  expect(await bytesOnDisk(false)).toBeLessThan(template.log.bytes);
});
