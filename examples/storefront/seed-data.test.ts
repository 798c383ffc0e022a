import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { COUNTRIES } from './population.ts';
import { PRODUCTS, type SeedUser, seedData } from './seed-data.ts';
import { seededRandom } from './seeded-random.ts';

const WHOLE = { users: 10_000, orders: 50_000, seed: 1 };
const whole = seedData(WHOLE);

const orderCount = (users: readonly SeedUser[]) =>
  users.reduce((sum, { orders }) => sum + orders.length, 0);

describe('the sample data', () => {
  test('is the same at every run with one seed, and another one with another', () => {
    expect(seedData(WHOLE)).toEqual(whole);
    expect(seedData({ ...WHOLE, seed: 2 })).not.toEqual(whole);
  });

  test('has exactly as many users and orders as were asked for', () => {
    expect(whole).toHaveLength(10_000);
    expect(orderCount(whole)).toBe(50_000);
    const odd = seedData({ users: 7, orders: 13, seed: 3 });
    expect(odd).toHaveLength(7);
    expect(orderCount(odd)).toBe(13);
    expect(seedData({ users: 1, orders: 0, seed: 3 })[0]?.orders).toEqual([]);
    expect(seedData({ users: 0, orders: 0, seed: 3 })).toEqual([]);
  });

  test('gives every user an id of their own', () => {
    expect(new Set(whole.map(({ id }) => id)).size).toBe(10_000);
    expect(whole[0]?.id).toBe('user-00001');
    expect(whole.at(-1)?.id).toBe('user-10000');
    expect(whole.every(({ id, email }) => email === `${id}@example.org`)).toBe(true);
  });

  test('comes from at least 60 countries, each within one user of its share of the people', () => {
    const people = COUNTRIES.reduce((sum, { millions }) => sum + millions, 0);
    const counts = Map.groupBy(whole, ({ country }) => country);
    expect(counts.size).toBeGreaterThanOrEqual(60);
    for (const { code, millions } of COUNTRIES) {
      const exact = (10_000 * millions) / people;
      expect(Math.abs((counts.get(code)?.length ?? 0) - exact), code).toBeLessThan(1);
    }
  });

  test('has a few eager buyers and many others', () => {
    const counts = whole.map(({ orders }) => orders.length).sort((a, b) => b - a);
    const tenth = counts.slice(0, 1_000).reduce((sum, count) => sum + count, 0);
    expect(tenth / 50_000).toBeGreaterThan(0.25);
    expect(tenth / 50_000).toBeLessThan(0.45);
    expect(counts.at(-1)).toBeLessThan(3);
  });

  test('orders hold one to five different products, and some of each number', () => {
    const orders = whole.flatMap((user) => user.orders);
    const lengths = Map.groupBy(orders, ({ items }) => items.length);
    expect([...lengths.keys()].sort()).toEqual([1, 2, 3, 4, 5]);
    for (const { items } of orders) {
      expect(new Set(items.map(({ product }) => product)).size).toBe(items.length);
    }
    const changed = orders.filter(({ changes }) => changes.length > 0).length / orders.length;
    expect(changed).toBeGreaterThan(0.04);
    expect(changed).toBeLessThan(0.08);
  });

  test('a smaller number of orders is the beginning of a larger one', () => {
    const smaller = seedData({ ...WHOLE, orders: 20_000 });
    for (const [i, { orders }] of smaller.entries()) {
      expect(whole[i]?.orders.slice(0, orders.length)).toEqual(orders);
    }
  });

  test('knows the catalogue of schema.sql, all of it', () => {
    const schema = readFileSync(new URL('schema.sql', import.meta.url), 'utf8');
    const rows = schema.slice(schema.indexOf('insert into products'));
    const ids = [...rows.matchAll(/^ {2}\('([a-z0-9-]+)'/gm)].map(([, id]) => id);
    expect([...PRODUCTS].sort()).toEqual(ids.sort());
  });
});

test('no country is named twice in the table of populations', () => {
  const codes = COUNTRIES.map(({ code }) => code);
  expect(new Set(codes).size).toBe(codes.length);
});

test('streams of one seed are different, and a stream is always the same', () => {
  const draws = (seed: number, stream: number) => {
    const random = seededRandom(seed, stream);
    return Array.from({ length: 1_000 }, random);
  };
  expect(draws(1, 1)).toEqual(draws(1, 1));
  expect(draws(1, 1)).not.toEqual(draws(1, 2));
  expect(draws(1, 1)).not.toEqual(draws(2 ** 32 + 1, 1));
  const mean = draws(1, 1).reduce((sum, one) => sum + one, 0) / 1_000;
  expect(mean).toBeGreaterThan(0.45);
  expect(mean).toBeLessThan(0.55);
});
