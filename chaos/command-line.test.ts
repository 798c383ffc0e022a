import { describe, expect, test } from 'vitest';
import { readCommandLine } from './command-line.ts';
import { QUICK, SCENARIOS } from './scenarios.ts';

test('one scenario with a seed', () => {
  const words = ['primary-killed', '--seed', '7', '--json', '--report', 'run.html'];
  expect(readCommandLine(words)).toEqual({
    kind: 'run',
    scenarios: [SCENARIOS.find(({ name }) => name === 'primary-killed')],
    seed: 7,
    json: true,
    report: 'run.html',
  });
});

test('sets', () => {
  expect(readCommandLine(['quick'])).toMatchObject({ kind: 'run', scenarios: QUICK });
  expect(readCommandLine(['all'])).toMatchObject({
    kind: 'run',
    scenarios: SCENARIOS,
    json: false,
  });
  expect(readCommandLine(['list'])).toMatchObject({ kind: 'list', scenarios: SCENARIOS });
});

test('a file to play again', () => {
  const asked = readCommandLine(['replay', 'storm.json', '--root', '.domicile']);
  expect(asked).toMatchObject({ kind: 'replay', file: 'storm.json', root: '.domicile' });
});

describe('what is asked for wrongly is named', () => {
  test.each<[string[], RegExp]>([
    [[], /which scenario/],
    [['primary-kiled'], /no scenario "primary-kiled"/],
    [['list', 'primary-killed'], /list takes no "primary-killed"/],
    [['primary-killed', '--seed', '1e3'], /--seed "1e3"/],
    [['primary-killed', '--seed', '4294967296'], /--seed "4294967296"/],
    [['primary-killed', '--sed', '7'], /--sed/],
    [['quick', '--report', 'run.html'], /for one scenario/],
    [['storm'], /--minutes ""/],
    [['storm', '--minutes', '0'], /--minutes "0"/],
    [['storm', 'eu', '--minutes', '3'], /takes no "eu"/],
    [['quick', '--minutes', '3'], /--minutes is for a storm/],
    [['replay'], /needs the file/],
    [['replay', 'a.json', 'b.json'], /one file, not "b.json"/],
  ])('%j', (words, complaint) => {
    const read = readCommandLine(words);
    expect(read).toEqual({
      complaints: expect.arrayContaining([expect.stringMatching(complaint)]),
    });
  });
});
