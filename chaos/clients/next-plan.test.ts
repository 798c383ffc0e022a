import { describe, expect, test } from 'vitest';
import { MIXES, type MixName } from './mixes.ts';
import { isRead, type Plan, plansOf } from './next-plan.ts';
import { Population } from './population.ts';

const REGIONS = ['us', 'eu', 'asia'];
const edges = REGIONS.map((region) => ({ region, url: `http://${region}.example` }));
const population = new Population('test', REGIONS, 2);

function plans(
  count: number,
  { seed = 7, client = 3, mix = 'everything' as MixName } = {},
): Plan[] {
  const next = plansOf({ seed, client, population, edges, mix: MIXES[mix], restMsMax: 90 });
  return Array.from({ length: count }, next);
}

const valuesOf = ({ action }: Plan) =>
  action.kind === 'lists'
    ? action.steps.flatMap((step) => (step.do === 'append' ? step.value : []))
    : 'value' in action
      ? [action.value]
      : [];

describe('the plans of a client', () => {
  test('follow from the seed and its number', () => {
    expect(plans(500)).toEqual(plans(500));
    expect(plans(500, { seed: 8 })).not.toEqual(plans(500));
    expect(plans(500, { client: 4 })).not.toEqual(plans(500));
  });

  test('of neighbouring seeds and clients have next to nothing in common', () => {
    const text = (of: Plan[]) => of.map(({ subject, action }) => `${subject.id} ${action.kind}`);
    const all = [1, 2, 3].flatMap((seed) =>
      [0, 1, 2, 3].map((client) => text(plans(300, { seed, client }))),
    );
    for (const [a, one] of all.entries()) {
      for (const other of all.slice(a + 1)) {
        const same = one.filter((line, at) => line === other[at]).length;
        expect(same).toBeLessThan(45);
      }
    }
  });

  test('never write a value twice, whoever writes', () => {
    const values = [0, 1, 2, 11].flatMap((client) => plans(3_000, { client }).flatMap(valuesOf));
    expect(values.length).toBeGreaterThan(5_000);
    expect(new Set(values).size).toBe(values.length);
  });

  test('have keys that no other plan has, and only for what changes something', () => {
    const all = [0, 1, 2].flatMap((client) => plans(2_000, { client }));
    const keys = all.flatMap(({ key }) => key ?? []);
    expect(new Set(keys).size).toBe(keys.length);
    expect(all.filter(({ key, action }) => key !== undefined && isRead(action))).toEqual([]);
    const writes = all.filter(({ action }) => !isRead(action));
    expect(writes.filter(({ key }) => key === undefined).length).toBeGreaterThan(writes.length / 4);
    expect(keys.length).toBeGreaterThan(writes.length / 2);
  });

  test('name a bound where they ask for one, and a level for reads alone', () => {
    for (const { level, maxStalenessMs, action } of plans(2_000)) {
      expect(maxStalenessMs !== undefined).toBe(level === 'bounded');
      if (!isRead(action)) expect(level).toBe('session');
    }
  });

  test('turn to somebody new only after having created them', () => {
    const created = new Set(population.first.map(({ id }) => id));
    let newcomers = 0;
    for (const { subject, action } of plans(3_000)) {
      if (action.kind === 'create') {
        expect(created.has(subject.id)).toBe(false);
        created.add(subject.id);
        newcomers++;
      } else expect(created.has(subject.id)).toBe(true);
    }
    expect(newcomers).toBeGreaterThan(30);
  });

  test('move on to new lists, registers and products', () => {
    const lists = (of: Plan[]) =>
      new Set(
        of
          .flatMap(({ action }) => (action.kind === 'lists' ? action.steps : []))
          .map((s) => s.list),
      );
    const all = plans(600, { mix: 'lists' });
    expect(lists(all.slice(0, 60))).toEqual(new Set(['l0-0', 'l0-1', 'l0-2']));
    expect(lists(all.slice(540))).toEqual(new Set(['l9-0', 'l9-1', 'l9-2']));
  });

  test('of travellers hardly stay, those of others mostly do', () => {
    const stays = (mix: MixName) =>
      plans(1_000, { mix }).filter(({ edges: [first] }) => first === edges[0]).length;
    expect(stays('travellers')).toBeLessThan(500);
    expect(stays('lists')).toBeGreaterThan(750);
  });

  test.each(Object.keys(MIXES) as MixName[])('of %s hold every deed that it names', (mix) => {
    const kinds = new Set(
      plans(2_000, { mix }).map(({ action }) =>
        action.kind === 'lists' ? (isRead(action) ? 'lists-read' : 'append') : action.kind,
      ),
    );
    expect(kinds).toEqual(new Set(Object.keys(MIXES[mix].deeds)));
  });
});

describe('a population', () => {
  test('has as many people at each home, and marks that name it', () => {
    expect(population.first.map(({ home }) => home)).toEqual([...REGIONS, ...REGIONS]);
    expect(new Set(population.first.map(({ id }) => id)).size).toBe(6);
    expect(population.marks()).toEqual([
      { text: 'canary-us-test-private', home: 'us', copies: [] },
      { text: 'canary-us-test-notice', home: 'us', copies: ['eu', 'asia'] },
      { text: 'canary-eu-test-private', home: 'eu', copies: [] },
      { text: 'canary-eu-test-notice', home: 'eu', copies: [] },
      { text: 'canary-asia-test-private', home: 'asia', copies: [] },
      { text: 'canary-asia-test-notice', home: 'asia', copies: ['us', 'eu'] },
    ]);
  });

  test('is refused for a run or a region that it has no names for', () => {
    expect(() => new Population('Run 1', REGIONS, 2)).toThrow(/does not name a run/);
    expect(() => new Population('run', ['us', 'mars'], 2)).toThrow(/nobody at home in "mars"/);
  });
});
