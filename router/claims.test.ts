import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type Ballot, claimId, inOrder } from './claims.ts';

const REGIONS = ['asia', 'eu', 'us'];

/** Regions that keep one claim an id, as the SQL functions claim and release do. */
class Regions {
  held = new Map<string, { home: string; claim: string }>();
  down = new Set<string>();

  electorate(here: string, pause: () => Promise<void> = async () => {}) {
    return {
      here,
      regions: REGIONS,
      claimAt: async (region: string, key: string, claim: string): Promise<Ballot> => {
        await pause();
        if (this.down.has(region)) return { kind: 'silent' };
        const holder = this.held.get(`${region} ${key}`);
        if (holder !== undefined && holder.home !== here) {
          return { kind: 'held', home: holder.home, settled: false };
        }
        this.held.set(`${region} ${key}`, { home: here, claim });
        return { kind: 'granted' };
      },
      releaseAt: async (region: string, key: string, claim: string) => {
        await pause();
        if (this.held.get(`${region} ${key}`)?.claim === claim)
          this.held.delete(`${region} ${key}`);
      },
    };
  }
}

test('of two homes that claim one id at once exactly one wins, whatever the interleaving', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.scheduler(),
      fc.string(),
      fc.constantFrom('eu', 'asia'),
      async (s, key, b) => {
        const regions = new Regions();
        const pause = () => s.schedule(Promise.resolve());
        const both = Promise.all([
          claimId(key, 'claim-a', regions.electorate('us', pause)),
          claimId(key, 'claim-b', regions.electorate(b, pause)),
        ]);
        await s.waitFor(both);
        const kinds = (await both).map(({ kind }) => kind).sort();
        expect(kinds).toEqual(['held-by-us', 'held-elsewhere']);
      },
    ),
  );
});

test('with any one region down, never do both win', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.scheduler(),
      fc.string(),
      fc.constantFrom(...REGIONS),
      async (s, key, down) => {
        const regions = new Regions();
        regions.down.add(down);
        const pause = () => s.schedule(Promise.resolve());
        const both = Promise.all([
          claimId(key, 'claim-a', regions.electorate('us', pause)),
          claimId(key, 'claim-b', regions.electorate('eu', pause)),
        ]);
        await s.waitFor(both);
        const won = (await both).filter(({ kind }) => kind === 'held-by-us');
        expect(won.length).toBeLessThanOrEqual(1);
      },
    ),
  );
});

test('one region down leaves a majority for a home that is up', async () => {
  const regions = new Regions();
  regions.down.add('us');
  expect((await claimId('k', 'c', regions.electorate('eu'))).kind).toBe('held-by-us');
});

test('without a majority nothing stays claimed', async () => {
  const regions = new Regions();
  regions.down.add('us').add('asia');
  const outcome = await claimId('k', 'c', regions.electorate('eu'));
  expect(outcome.kind).toBe('undecided');
  expect(outcome.kind === 'undecided' && [...outcome.silent].sort()).toEqual(['asia', 'us']);
  expect(regions.held.size).toBe(0);
});

test('the own region is always among the majority', async () => {
  for (const key of ['a', 'b', 'c', 'd', 'e', 'f']) {
    const regions = new Regions();
    await claimId(key, 'c', regions.electorate('eu'));
    expect(regions.held.has(`eu ${key}`)).toBe(true);
    expect(regions.held.size).toBe(2);
  }
});

test('an id that was given back is free for another home', async () => {
  const regions = new Regions();
  const eu = regions.electorate('eu');
  await claimId('k', 'c', eu);
  await Promise.all(REGIONS.map((region) => eu.releaseAt(region, 'k', 'c')));
  expect((await claimId('k', 'd', regions.electorate('us'))).kind).toBe('held-by-us');
});

test('every region is asked first for about a third of the ids', () => {
  const first = new Map<string, number>();
  for (let i = 0; i < 3_000; i++) {
    const [region = ''] = inOrder(`key ${i}`, REGIONS);
    first.set(region, (first.get(region) ?? 0) + 1);
  }
  for (const region of REGIONS) expect(first.get(region)).toBeGreaterThan(850);
});
