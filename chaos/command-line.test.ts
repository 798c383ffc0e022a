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

test('a folder for the reports of many', () => {
  expect(readCommandLine(['all', '--reports', 'night/'])).toMatchObject({
    kind: 'run',
    reports: 'night/',
  });
});

test('a record to draw again', () => {
  expect(readCommandLine(['report', 'run.json', 'run.html'])).toEqual({
    kind: 'report',
    scenarios: [],
    seed: undefined,
    json: false,
    file: 'run.json',
    report: 'run.html',
  });
});

test('a file to play again', () => {
  const asked = readCommandLine(['replay', 'storm.json', '--root', '.domicile']);
  expect(asked).toMatchObject({ kind: 'replay', file: 'storm.json', root: '.domicile' });
});

test('a storm, with what it takes when nothing is said', () => {
  expect(readCommandLine(['storm'])).toMatchObject({
    kind: 'storm',
    scenarios: [],
    storm: { minutes: 30, wan: false, shrinking: { ofTries: { tries: 2, atLeast: 1 } } },
  });
  const words = 'storm --minutes 1.5 --seed 7 --wan --keep k --shrink-minutes 0 --fails 2/3';
  expect(readCommandLine(words.split(' '))).toMatchObject({
    seed: 7,
    storm: {
      minutes: 1.5,
      wan: true,
      keep: 'k',
      shrinking: { minutes: 0, ofTries: { tries: 3, atLeast: 2 } },
    },
  });
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
    [['replay'], /needs the file/],
    [['report', 'run.json'], /and the file that it is drawn to/],
    [['report', 'run.json', 'a.html', 'b.html'], /two files, not "b.html"/],
    [['report', 'run.json', 'a.html', '--seed', '7'], /report takes no --seed/],
    [['storm', '--reports', 'night/'], /--keep/],
    [['storm', 'primary-killed'], /storm takes no "primary-killed"/],
    [['storm', '--minutes', '0'], /--minutes "0"/],
    [['storm', '--minutes', '1e2'], /--minutes "1e2"/],
    [['storm', '--shrink-minutes', 'x'], /--shrink-minutes "x"/],
    [['storm', '--fails', '3/2'], /--fails "3\/2"/],
    [['storm', '--fails', '0/2'], /--fails "0\/2"/],
    [['storm', '--record', 'a.json'], /--keep/],
    [['primary-killed', '--minutes', '3'], /--minutes is for a storm/],
    [['replay', 'a.json', '--wan'], /--wan is for a storm/],
    [['replay', 'a.json', 'b.json'], /one file, not "b.json"/],
  ])('%j', (words, complaint) => {
    const read = readCommandLine(words);
    expect(read).toEqual({
      complaints: expect.arrayContaining([expect.stringMatching(complaint)]),
    });
  });
});
