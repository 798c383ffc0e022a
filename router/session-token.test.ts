import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Session } from '../policies/session.ts';
import { SessionTokens } from './session-token.ts';

const oldKey = randomBytes(32);
const newKey = randomBytes(32);
const at = {
  systemId: 7_000_000_000_000_000_001n,
  timeline: 3,
  lsn: 0x16_b374_d848n,
  onReplica: true,
};
const session: Session = {
  subject: Buffer.alloc(16, 7).toString('base64url'),
  home: 'asia',
  epoch: 2,
  floors: new Map([
    ['us', [at]],
    ['eu', [{ ...at, timeline: 1 }]],
    ['asia', [at]],
  ]),
  seenThrough: new Map(),
};

test('a session comes back as it was sealed', () => {
  const token = new SessionTokens([oldKey]).seal(session);
  expect(new SessionTokens([oldKey]).open(token)).toEqual({ kind: 'session', session });
});

test('three regions make a token of at most 200 characters', () => {
  expect(new SessionTokens([oldKey]).seal(session).length).toBe(155);
});

test('any session survives, the largest numbers included', () => {
  const position = fc.record({
    systemId: fc.bigInt(0n, 2n ** 64n - 1n),
    timeline: fc.integer({ min: 0, max: 2 ** 31 - 1 }),
    lsn: fc.bigInt(0n, 2n ** 64n - 1n),
    onReplica: fc.boolean(),
  });
  const region = fc.stringMatching(/^[a-z][a-z0-9-]{0,15}$/);
  const subject = fc
    .uint8Array({ minLength: 16, maxLength: 16 })
    .filter((bytes) => bytes.some((byte) => byte !== 0))
    .map((bytes) => Buffer.from(bytes).toString('base64url'));
  const sessions = fc.record({
    subject: fc.option(subject, { nil: undefined }),
    home: fc.option(region, { nil: undefined }),
    epoch: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
    floors: fc
      .array(fc.tuple(region, fc.array(position, { minLength: 1, maxLength: 3 })), { maxLength: 4 })
      .map((pairs) => new Map(pairs)),
    seenThrough: fc
      .array(fc.tuple(region, fc.oneof(region, fc.constant('*'))), { maxLength: 3 })
      .map((pairs) => new Map(pairs)),
  });
  fc.assert(
    fc.property(sessions, (any) => {
      const token = new SessionTokens([oldKey]).seal(any);
      expect(new SessionTokens([oldKey]).open(token)).toEqual({ kind: 'session', session: any });
    }),
  );
});

describe('rotation', () => {
  const token = new SessionTokens([oldKey]).seal(session);
  test('a token of the old key opens while both keys live', () => {
    expect(new SessionTokens([newKey, oldKey]).open(token).kind).toBe('session');
  });
  test('a token of a retired key is forged', () => {
    expect(new SessionTokens([newKey]).open(token).kind).toBe('session-token-forged');
  });
});

test('no flipped bit goes unnoticed', () => {
  const bytes = Buffer.from(new SessionTokens([oldKey]).seal(session), 'base64url');
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const flipped = Buffer.from(bytes);
    flipped.writeUInt8(flipped.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
    const opened = new SessionTokens([oldKey]).open(flipped.toString('base64url'));
    expect(opened.kind, `bit ${bit}`).not.toBe('session');
  }
});

test.each([
  ['', 'not base64url'],
  ['a b', 'not base64url'],
  ['AQ', 'too short'],
  ['x'.repeat(1_025), 'longer than 1024 characters'],
  [Buffer.alloc(40, 9).toString('base64url'), 'version 9, this edge reads 2'],
])('%j is refused as malformed with its reason', (token, why) => {
  expect(new SessionTokens([oldKey]).open(token)).toEqual({ kind: 'session-token-malformed', why });
});

test('no prefix of a token opens', () => {
  const token = new SessionTokens([oldKey]).seal(session);
  for (let length = 0; length < token.length; length++) {
    expect(new SessionTokens([oldKey]).open(token.slice(0, length)).kind).not.toBe('session');
  }
});
