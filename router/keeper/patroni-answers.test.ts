import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import type { HttpAnswer } from './ask-http.ts';
import {
  readCluster,
  readHistory,
  readSettings,
  readSystemId,
  wordsOf,
} from './patroni-answers.ts';

const says = (value: unknown, status = 200): HttpAnswer => ({
  kind: 'answered',
  status,
  text: typeof value === 'string' ? value : JSON.stringify(value),
});

/** As Patroni 3.0.2 answered. */
const RECORDED = {
  members: [
    {
      name: 'eu-a',
      role: 'leader',
      state: 'running',
      api_url: 'http://127.0.0.1:11026/patroni',
      host: '127.0.0.1',
      port: 14450,
      timeline: 2,
    },
    {
      name: 'eu-b',
      role: 'replica',
      state: 'stopping',
      api_url: 'http://127.0.0.1:28584/patroni',
      host: '127.0.0.1',
      port: 27319,
      lag: 'unknown',
    },
    {
      name: 'eu-c',
      role: 'sync_standby',
      state: 'running',
      api_url: 'http://127.0.0.1:22136/patroni',
      host: '127.0.0.1',
      port: 13401,
      timeline: 2,
      lag: 0,
    },
  ],
};

test('a cluster has a leader, members with their roles, and may be paused', () => {
  expect(readCluster(says(RECORDED))).toEqual({
    ok: {
      leader: 'eu-a',
      isPaused: false,
      members: [
        { name: 'eu-a', role: 'leader', state: 'running', timeline: 2 },
        { name: 'eu-b', role: 'replica', state: 'stopping', timeline: undefined },
        { name: 'eu-c', role: 'sync_standby', state: 'running', timeline: 2 },
      ],
    },
  });
  expect(readCluster(says({ members: [], pause: true }))).toEqual({
    ok: { leader: undefined, isPaused: true, members: [] },
  });
});

test.each([
  ['master', 'leader'],
  ['quorum_standby', 'replica'],
  ['standby_leader', 'standby_leader'],
  ['witness', 'unknown'],
  ['constructor', 'unknown'],
])('the role %s is read as %s', (role, expected) => {
  const read = readCluster(says({ members: [{ name: 'eu-a', role }] }));
  expect(read).toMatchObject({ ok: { members: [{ role: expected, state: '' }] } });
});

test.each<[string, HttpAnswer, string]>([
  [
    'two leaders',
    says({ members: [1, 2].map((n) => ({ name: `n${n}`, role: 'leader' })) }),
    'it names several leaders: n1, n2',
  ],
  ['no JSON', says('<html><body>Welcome</body></html>'), 'no JSON: Welcome'],
  ['no members', says({}), 'not what Patroni answers: members'],
  [
    'a member without a name',
    says({ members: [{ role: 'leader' }] }),
    'not what Patroni answers: members.0.name',
  ],
  ['a list', says([]), 'not what Patroni answers'],
  ['another status', says('<h1>Bad gateway</h1>', 502), '502 Bad gateway'],
  ['no answer', { kind: 'failed', sent: true, why: 'ECONNRESET' }, 'ECONNRESET'],
])('%s is not understood, and why is said', (_, answer, why) => {
  expect(readCluster(answer)).toEqual({ why });
});

test('the history is a list of timelines that ended; the newest may say less', () => {
  const lines = [
    [1, 67109248, 'no recovery target specified', '2026-11-21T21:10:32.700557+00:00', 'eu-a'],
    [2, 83886240, 'no recovery target specified'],
    [3, 83886250, 'before version 2', '2026-11-21T21:10:32+00:00', null],
  ];
  expect(readHistory(says(lines))).toEqual({
    ok: [
      {
        timeline: 1,
        end: 67109248n,
        reason: 'no recovery target specified',
        at: '2026-11-21T21:10:32.700557+00:00',
        to: 'eu-a',
      },
      {
        timeline: 2,
        end: 83886240n,
        reason: 'no recovery target specified',
        at: undefined,
        to: undefined,
      },
      {
        timeline: 3,
        end: 83886250n,
        reason: 'before version 2',
        at: '2026-11-21T21:10:32+00:00',
        to: undefined,
      },
    ],
  });
  expect(readHistory(says([['1', 2, 'x']]))).toEqual({ why: 'not what Patroni answers: 0.0' });
});

test('a member says which cluster it minds, in 64 bits', () => {
  const status = { state: 'running', database_system_identifier: '17710735139175265149' };
  expect(readSystemId(says(status))).toEqual({ ok: 17710735139175265149n });
  expect(readSystemId(says({ state: 'starting' }))).toHaveProperty('why');
});

test('words of somebody else are one short line without markup', () => {
  const page = '<!DOCTYPE HTML>\n<head><title>Error</title></head>\n<p>Error code: 400</p>\n';
  expect(wordsOf(page)).toBe('Error code: 400');
  expect(wordsOf('x'.repeat(200))).toHaveLength(200);
  expect(wordsOf('x'.repeat(201))).toBe(`${'x'.repeat(200)}…`);
});

test('nothing that anybody answers is thrown', async () => {
  const anything = fc.oneof(fc.json(), fc.string(), fc.constant(JSON.stringify(RECORDED)));
  await fc.assert(
    fc.property(anything, fc.integer({ min: 100, max: 599 }), (text, status) => {
      for (const read of [readCluster, readHistory, readSystemId, readSettings]) {
        const found = read({ kind: 'answered', status, text });
        expect('ok' in found !== 'why' in found).toBe(true);
      }
    }),
  );
});
