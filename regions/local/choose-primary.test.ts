import { expect, test } from 'vitest';
import { choosePrimary } from './choose-primary.ts';
import { type ClusterHistory, parents } from './cluster-history.ts';

const primary = (timeline = 1, ancestors: number[] = []): ClusterHistory => ({
  role: 'primary',
  systemId: 7n,
  timeline,
  ancestors,
});
const replica = (timeline = 1): ClusterHistory => ({ ...primary(timeline), role: 'replica' });
const nodes = (found: Record<string, ClusterHistory | undefined>) =>
  choosePrimary(new Map(Object.entries(found)));

test('in a new region the first node is the primary', () => {
  expect(nodes({ a: undefined, b: undefined })).toEqual({ kind: 'new', primary: 'a' });
});

test('the node that is no replica is the primary, wherever it stands in the list', () => {
  expect(nodes({ a: replica(2), b: primary(2) })).toEqual({
    kind: 'known',
    primary: 'b',
    replace: [],
  });
});

test('nodes without data become copies', () => {
  expect(nodes({ a: primary(), b: undefined, c: undefined })).toMatchObject({
    primary: 'a',
    replace: [
      { node: 'b', because: 'no_data' },
      { node: 'c', because: 'no_data' },
    ],
  });
});

test('a promoted node wins over the primary that it grew out of', () => {
  expect(nodes({ a: primary(1), b: primary(2, [1]) })).toMatchObject({
    primary: 'b',
    replace: [{ node: 'a', because: 'superseded' }],
  });
});

test('after two promotions the oldest primary is still an ancestor', () => {
  expect(nodes({ a: primary(1), b: primary(3, [1, 2]), c: replica(3) })).toMatchObject({
    primary: 'b',
    replace: [{ node: 'a', because: 'superseded' }],
  });
});

test('two primaries on one timeline are refused', () => {
  expect(nodes({ a: primary(2, [1]), b: primary(2, [1]) })).toMatchObject({ kind: 'refuse' });
});

test('a later timeline that did not grow out of the other one is refused', () => {
  expect(nodes({ a: primary(2, [1]), b: primary(3, [1]) })).toMatchObject({ kind: 'refuse' });
});

test('copies of different databases are refused, whatever their roles', () => {
  expect(nodes({ a: primary(), b: { ...replica(), systemId: 8n } })).toMatchObject({
    kind: 'refuse',
  });
});

test('a region of replicas only is refused', () => {
  expect(nodes({ a: undefined, b: replica() })).toMatchObject({ kind: 'refuse' });
});

test('a history file names the timelines that were left', () => {
  const text = '1\t0/3000148\tno recovery target specified\n\n2\t16/B374D848\tbefore 2026-11-20\n';
  expect(parents(text)).toEqual([1, 2]);
  expect(parents('')).toEqual([]);
});
