import { randomBytes } from 'node:crypto';
import { expect, test } from 'vitest';
import { Directory, type Entry } from './directory.ts';

type World = { here?: Entry | Error; us?: Entry | Error; asia?: Entry | Error };

function directory(world: World, entriesMax = 10) {
  const asked: string[] = [];
  const answer = async (region: keyof World) => {
    asked.push(region);
    const said = world[region];
    if (said instanceof Error) throw said;
    return said;
  };
  const built = new Directory({
    key: new Uint8Array(32),
    here: 'eu',
    peers: ['us', 'asia'],
    entriesMax,
    lookUpHere: () => answer('here'),
    lookUpThere: (peer) => answer(peer as keyof World),
  });
  return { built, asked };
}

const inAsia: Entry = { home: 'asia', epoch: 1 };

test('what this region holds is not asked of the peers', async () => {
  const { built, asked } = directory({ here: inAsia });
  expect(await built.find('k', 100)).toEqual({ kind: 'found', entry: inAsia });
  expect(asked).toEqual(['here']);
});

test('a subject that this region has not heard of is asked for at its peers, once', async () => {
  const { built, asked } = directory({ asia: inAsia });
  expect(await built.find('k', 100)).toEqual({ kind: 'found', entry: inAsia });
  expect(await built.find('k', 100)).toEqual({ kind: 'found', entry: inAsia });
  expect(asked).toEqual(['here', 'us', 'asia']);
});

test('a silent peer does not hide the one that knows', async () => {
  const { built } = directory({ us: new Error('down'), asia: inAsia });
  expect((await built.find('k', 100)).kind).toBe('found');
});

test('a subject is unknown only when everyone has said so', async () => {
  expect(await directory({}).built.find('k', 100)).toEqual({ kind: 'unknown' });
  expect(await directory({ us: new Error('down') }).built.find('k', 100)).toEqual({
    kind: 'unsure',
    silent: ['us'],
  });
  expect(await directory({ here: new Error('down') }).built.find('k', 100)).toEqual({
    kind: 'unsure',
    silent: ['eu'],
  });
});

test('neither unknown nor unsure is remembered', async () => {
  const world: World = {};
  const { built } = directory(world);
  await built.find('k', 100);
  world.asia = inAsia;
  expect((await built.find('k', 100)).kind).toBe('found');
});

test('questions for one key that come together are asked once', async () => {
  const { built, asked } = directory({ here: inAsia });
  await Promise.all([built.find('k', 100), built.find('k', 100), built.find('k', 100)]);
  expect(asked).toEqual(['here']);
});

test('a key says nothing of its subject without the secret', () => {
  const one = directory({}).built.keyOf('u1');
  const other = new Directory({
    key: randomBytes(32),
    here: 'eu',
    peers: [],
    entriesMax: 1,
    lookUpHere: async () => undefined,
    lookUpThere: async () => undefined,
  }).keyOf('u1');
  expect(one).toMatch(/^[A-Za-z0-9_-]{22}$/);
  expect(other).not.toBe(one);
});
