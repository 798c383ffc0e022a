import { expect, test } from 'vitest';
import { isAlone, readKeeper } from './keeper-says.ts';

const ALONE = {
  region: 'eu',
  version: 17,
  primary: 'eu-a',
  timeline: 3,
  standbys: [],
  pending: null,
};
const isProven = (answer: unknown) => isAlone(readKeeper(answer, 'eu'), 'eu-a', 3);

test('the record of a primary that runs alone proves it', () => {
  expect(isProven(ALONE)).toBe(true);
});

test.each<[string, unknown]>([
  ['another region', { ...ALONE, region: 'us' }],
  ['another primary', { ...ALONE, primary: 'eu-b' }],
  ['an older timeline', { ...ALONE, timeline: 2 }],
  ['a newer timeline', { ...ALONE, timeline: 4 }],
  ['a standby', { ...ALONE, standbys: ['eu-b'] }],
  ['a plan', { ...ALONE, pending: { kind: 'promote', node: 'eu-b' } }],
  ['a plan that is not told', { ...ALONE, pending: undefined }],
  ['standbys that are not told', { ...ALONE, standbys: undefined }],
  ['a timeline in words', { ...ALONE, timeline: '3' }],
  ['nothing', undefined],
  ['no record', 'eu-a'],
])('%s proves nothing', (_, answer) => {
  expect(isProven(answer)).toBe(false);
});
