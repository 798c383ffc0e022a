import { expect, test } from 'vitest';
import { seededRandom } from '../toxiproxy/seeded-random.ts';
import { ddmin } from './ddmin.ts';

const ALL = Array.from({ length: 16 }, (_, i) => i + 1);

/** Enough is whatever has all of these. */
const needs =
  (...items: readonly number[]) =>
  async (part: readonly number[]) =>
    items.every((item) => part.includes(item));

test('one item out of many is found by halving', async () => {
  const { items, tries, minimal } = await ddmin(ALL, needs(11));
  expect(items).toEqual([11]);
  expect(minimal).toBe(true);
  // A search by halves asks for two parts at each of four steps, at most.
  expect(tries).toBeLessThanOrEqual(8);
});

test('items that are enough only together stay together, in their order', async () => {
  for (const wanted of [
    [1, 16],
    [8, 9],
    [3, 7, 12],
    [1, 2, 3, 4, 15],
  ]) {
    const { items, minimal } = await ddmin(ALL, needs(...wanted));
    expect(items).toEqual(wanted);
    expect(minimal).toBe(true);
  }
});

test('when all are needed all are left', async () => {
  expect(await ddmin(ALL, needs(...ALL))).toMatchObject({ items: ALL, minimal: true });
});

test('what is left has no item too many, even where more is not always enough', async () => {
  for (let seed = 0; seed < 200; seed++) {
    const random = seededRandom(seed);
    const size = 1 + Math.floor(random() * 12);
    const all = Array.from({ length: size }, (_, i) => i);
    const yes = new Set<string>([all.join()]);
    const isEnough = async (part: readonly number[]) => {
      const key = part.join();
      // Asked again, it says the same.
      if (!yes.has(key) && random() < 0.25) yes.add(key);
      return yes.has(key);
    };
    const { items, minimal } = await ddmin(all, isEnough);
    expect(minimal).toBe(true);
    expect(yes.has(items.join())).toBe(true);
  }
});

test('the single items of what is left were all tried in vain', async () => {
  const asked = new Set<string>();
  const { items } = await ddmin(ALL, async (part) => {
    asked.add(part.join());
    return part.includes(2) && part.length >= 3;
  });
  expect(items).toHaveLength(3);
  for (const item of items) {
    expect(asked).toContain(items.filter((one) => one !== item).join());
  }
});

test('no part is asked for twice, nor all, nor none', async () => {
  const asked: string[] = [];
  await ddmin(ALL, async (part) => {
    asked.push(part.join());
    return [1, 6, 11, 16].every((item) => part.includes(item));
  });
  expect(new Set(asked).size).toBe(asked.length);
  expect(asked).not.toContain(ALL.join());
  expect(asked).not.toContain('');
});

test('one item is not tried, and of none nothing is left', async () => {
  const never = async () => {
    throw new Error('asked');
  };
  expect(await ddmin([1], never)).toEqual({ items: [1], tries: 0, minimal: true });
  expect(await ddmin([], never)).toEqual({ items: [], tries: 0, minimal: true });
});

test('told to stop, it answers with what is enough so far and does not call it minimal', async () => {
  let tries = 0;
  const isEnough = async (part: readonly number[]) => {
    tries++;
    return part.includes(16);
  };
  const stopped = await ddmin(ALL, isEnough, () => tries >= 2);
  expect(stopped).toEqual({ items: [9, 10, 11, 12, 13, 14, 15, 16], tries: 2, minimal: false });
});
