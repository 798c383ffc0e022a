import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Catalogue } from '../../regions/catalogue.ts';
import { Population } from '../clients/population.ts';
import { findMarks } from './find-marks.ts';
import { judgeForeignBytes } from './judge-foreign-bytes.ts';

const REGIONS = ['us', 'eu', 'asia'];
const catalogue: Catalogue = {
  regions: new Map(
    REGIONS.map((id) => [
      id,
      {
        id,
        title: id,
        database: 'witness',
        edges: [{ name: `edge-${id}`, url: `http://${id}.example` }],
        nodes: [{ name: `${id}-a`, host: '127.0.0.1', port: 1 }],
        airlocks: [
          {
            name: `${id}-x`,
            host: '127.0.0.1',
            port: 2,
            peers: REGIONS.filter((one) => one !== id),
          },
        ],
      },
    ]),
  ),
  distances: [],
};
const markers = new Population('t', REGIONS, 1).marks();
const textOf = (home: string, kind: 'private' | 'notice') => `canary-${home}-t-${kind}`;

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'foreign-bytes-'));
  // A world as it should be: each home has what is its own, and copies lie where they may.
  for (const home of REGIONS) {
    await put(`postgres/clusters/${home}-a/data/pg_wal/0001`, `..${textOf(home, 'private')}..`);
    await put(`postgres/clusters/${home}-x/data/base/1`, 'nothing');
  }
  for (const home of ['us', 'asia']) {
    await put(`postgres/clusters/${home}-x/data/base/2`, textOf(home, 'notice'));
    for (const region of REGIONS) {
      await put(`postgres/clusters/${region}-a/data/base/${home}`, textOf(home, 'notice'));
    }
  }
  const link = (from: string, to: string, kind: string, name: string) => ({
    ...{ from, to, kind, name, folder: `${from}-to-${name}` },
    address: {},
  });
  const links = REGIONS.flatMap((from) =>
    REGIONS.filter((to) => to !== from).flatMap((to) => [
      link(from, to, 'edge', `edge-${to}`),
      link(from, to, 'airlock', `${to}-x`),
    ]),
  );
  await put('run/wire/links.json', JSON.stringify(links));
  await put('run/wire/us-to-edge-eu/000001.sent', `PUT ${textOf('eu', 'private')}`);
  await put('run/wire/us-to-edge-eu/000001.received', textOf('eu', 'private'));
  await put('run/wire/eu-to-us-x/000001.received', textOf('us', 'notice'));
  await put('run/edge-us.log', `what its own home's edge says: ${textOf('us', 'private')}`);
});
afterEach(() => rm(root, { recursive: true, force: true }));

async function put(path: string, text: string | Buffer): Promise<void> {
  await mkdir(dirname(join(root, path)), { recursive: true });
  await writeFile(join(root, path), text);
}
const judged = () => judgeForeignBytes({ root, catalogue, markers });

test('a world where everything lies where it may is acquitted', async () => {
  expect(await judged()).toEqual({
    judge: 'no foreign byte',
    verdict: 'holds',
    checked: 18,
    violations: [],
  });
});

test.each([
  [
    'a private row in a node abroad',
    'postgres/clusters/us-a/data/base/9',
    textOf('eu', 'private'),
    'us-a, a node of us: base/9 at byte 3',
  ],
  [
    'a notice of a home that lets nothing out',
    'postgres/clusters/asia-a/data/base/9',
    textOf('eu', 'notice'),
    'asia-a, a node of asia: base/9',
  ],
  [
    'a private row in the own airlock',
    'postgres/clusters/us-x/data/pg_wal/1',
    textOf('us', 'private'),
    'us-x, which eu and asia may read: pg_wal/1',
  ],
  [
    'a copy in the airlock of another region',
    'postgres/clusters/us-x/data/pg_wal/1',
    textOf('asia', 'notice'),
    'us-x, which eu and asia may read',
  ],
  [
    'a server that no catalogue knows',
    'postgres/clusters/stray/data/base/1',
    textOf('us', 'notice'),
    'stray, which is of no region',
  ],
  [
    'a drill of another region',
    'postgres/drills/asia/data/base/1',
    textOf('us', 'private'),
    'asia, a node of asia',
  ],
  [
    'a backup of another region',
    'postgres/backups/asia/wal/1',
    textOf('us', 'private'),
    'the backups of asia: wal/1',
  ],
  [
    'a request about somebody who is at home on this side',
    'run/wire/us-to-edge-eu/000002.sent',
    textOf('us', 'private'),
    'what passed between us and edge-eu, the edge of eu',
  ],
  [
    'a request that goes to a third region',
    'run/wire/us-to-edge-asia/000002.received',
    textOf('eu', 'private'),
    'edge-asia, the edge of asia',
  ],
  [
    'a private row on the way from an airlock',
    'run/wire/eu-to-us-x/000002.received',
    textOf('us', 'private'),
    'us-x, the airlock of us',
  ],
  ['the log of an edge abroad', 'run/edge-us.log', textOf('eu', 'private'), 'a log: edge-us.log'],
  [
    'a log that is of no region',
    'logs/keeper-us.log',
    textOf('us', 'private'),
    'a log: keeper-us.log',
  ],
])('%s is found', async (_what, path, text, says) => {
  await put(path, `...${text}`);
  const judgement = await judged();
  expect(judgement.verdict).toBe('broken');
  expect(judgement.violations).toHaveLength(1);
  expect(judgement.violations[0]?.says).toContain(text);
  expect(judgement.violations[0]?.says).toContain(says);
});

describe('nobody is acquitted by a look', () => {
  test('that did not find a home’s mark at the home', async () => {
    await put('postgres/clusters/asia-a/data/pg_wal/0001', 'zeros');
    await put('postgres/clusters/asia-a/data/base/asia', 'zeros');
    expect(await judged()).toMatchObject({
      verdict: 'inconclusive',
      why: 'the marks of asia were not found at home either',
    });
  });

  test('at wires that nothing has passed', async () => {
    for (const file of ['us-to-edge-eu/000001.sent', 'us-to-edge-eu/000001.received']) {
      await put(`run/wire/${file}`, 'silence');
    }
    await put('run/wire/eu-to-us-x/000001.received', 'silence');
    expect(await judged()).toMatchObject({
      verdict: 'inconclusive',
      why: 'wires were recorded, and no mark was found on any',
    });
  });

  test('for nothing, or in an empty world', async () => {
    expect(await judgeForeignBytes({ root, catalogue, markers: [] })).toMatchObject({
      verdict: 'inconclusive',
      checked: 0,
    });
    await rm(join(root, 'postgres'), { recursive: true });
    expect((await judged()).verdict).toBe('inconclusive');
  });

  test('at what it could not read', async () => {
    await put('postgres/backups/us', 'a file where a folder should be');
    expect(await judged()).toMatchObject({
      verdict: 'inconclusive',
      why: expect.stringContaining('backups/us (ENOTDIR)'),
    });
  });
});

describe('a text is found', () => {
  const text = textOf('eu', 'private');
  const MIB = 1024 * 1024;

  test.each([0, 1, MIB - 5, MIB - 1, MIB, 2 * MIB - 11, 3 * MIB])(
    'wherever a file holds it, at byte %i too',
    async (offset) => {
      await put('file', Buffer.concat([Buffer.alloc(offset), Buffer.from(text), Buffer.alloc(99)]));
      const { found } = await findMarks(
        root,
        [text, textOf('us', 'private')],
        (path) => path === 'file',
      );
      expect(found).toEqual([{ text, path: 'file', offset }]);
    },
  );

  test.each([
    ['hexadecimal digits', Buffer.from(text).toString('hex')],
    ['base64', Buffer.from(text).toString('base64')],
    ['base64, one byte on', Buffer.from(`-${text}-`).toString('base64')],
    ['base64, two bytes on', Buffer.from(`--${text}-`).toString('base64')],
  ])('in %s', async (_what, shape) => {
    await put('file', shape);
    const { found } = await findMarks(root, [text], (path) => path === 'file');
    expect(found.map((one) => one.text)).toEqual([text]);
  });

  test('and another one that begins alike is not taken for it', async () => {
    await put('file', `${text.slice(0, -1)} ${textOf('us', 'private')}`);
    const { found } = await findMarks(
      root,
      markers.map((one) => one.text),
      (path) => path === 'file',
    );
    expect(found.map((one) => one.text)).toEqual([textOf('us', 'private')]);
  });

  test('although it has nothing in common with the others', async () => {
    await put('file', 'zebra-and-more');
    const { found } = await findMarks(root, [text, 'zebra-and'], (path) => path === 'file');
    expect(found).toEqual([{ text: 'zebra-and', path: 'file', offset: 0 }]);
  });
});
