import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import type { Catalogue } from '../../regions/catalogue.ts';
import { readCatalogue } from '../../regions/read-catalogue.ts';
import {
  airlock,
  around,
  between,
  edge,
  keeper,
  type LinkChoice,
  primary,
  replica,
} from './fault.ts';
import { chooseLinks, linksOf } from './links.ts';

const path = 'examples/witness/regions.yaml';
const reading = readCatalogue(readFileSync(path, 'utf8'), path);
if ('complaints' in reading) throw new Error(path);
const catalogue: Catalogue = reading.catalogue;

/** As `domicile up --links all` calls them. */
const PROXIES = ['us', 'eu', 'asia'].flatMap((id) => [
  ...['us', 'eu', 'asia']
    .filter((to) => to !== id)
    .flatMap((to) => [`${id}-to-edge-${to}`, `${id}-to-${to}-x`]),
  ...[`edges-${id}`, `keeper-${id}`, `feed-${id}`].flatMap((who) => [
    `${who}-to-${id}-a`,
    `${who}-to-${id}-b`,
  ]),
  `${id}-a-to-${id}-b`,
  `${id}-b-to-${id}-a`,
  `edges-${id}-to-keeper-${id}`,
  `keeper-${id}-to-edge-${id}`,
  `keeper-${id}-to-${id}-x`,
]);
const PRIMARIES = new Map([
  ['us', 'us-a'],
  ['eu', 'eu-b'],
  ['asia', 'asia-a'],
]);
const links = linksOf(catalogue, [...PROXIES, 'distance-of-somebody-else', 'us-to-nowhere']);
const chosen = (choice: LinkChoice) =>
  chooseLinks(links, choice, PRIMARIES)
    .map(({ name }) => name)
    .sort();

test('every proxy of a world is a link, and nobody else’s proxy is one', () => {
  expect(links.map(({ name }) => name)).toEqual(PROXIES);
});

describe('what a fault means', () => {
  test('between two regions: edges and airlocks, both ways', () => {
    expect(chosen(between('us', 'eu'))).toEqual(
      ['eu-to-edge-us', 'eu-to-us-x', 'us-to-edge-eu', 'us-to-eu-x'].sort(),
    );
  });

  test('between a region and all others: nothing inside of it', () => {
    const found = chosen(between('asia'));
    expect(found).toHaveLength(8);
    expect(
      found.every((name) => /^asia-to-(edge-)?(us|eu)|^(us|eu)-to-(edge-)?asia/.test(name)),
    ).toBe(true);
  });

  test('around a primary: the node that is one now', () => {
    expect(chosen(around(primary('eu')))).toEqual(
      [
        'edges-eu-to-eu-b',
        'eu-a-to-eu-b',
        'eu-b-to-eu-a',
        'feed-eu-to-eu-b',
        'keeper-eu-to-eu-b',
      ].sort(),
    );
  });

  test('from a replica to its primary', () => {
    expect(chosen({ from: replica('eu'), to: primary('eu') })).toEqual(['eu-a-to-eu-b']);
  });

  test('from edges to a keeper, and around it', () => {
    expect(chosen({ from: edge('us'), to: keeper('us') })).toEqual(['edges-us-to-keeper-us']);
    expect(chosen(around(keeper('us')))).toHaveLength(5);
  });

  test('to an airlock: those who read it, and its keeper', () => {
    expect(chosen({ to: airlock('us') })).toEqual(
      ['asia-to-us-x', 'eu-to-us-x', 'keeper-us-to-us-x'].sort(),
    );
  });

  test('by name', () => {
    expect(chosen({ to: { name: 'asia-b' } })).toHaveLength(4);
    expect(chosen({ to: { name: 'nobody' } })).toEqual([]);
  });
});
