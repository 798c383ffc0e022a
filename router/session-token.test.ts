import { createHmac, randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { merge, type Session } from '../policies/session.ts';
import { anySession, anySubject } from '../policies/sessions-for-tests.ts';
import { NO_TIMELINE, POSITIONS_MAX, type Seen } from '../policies/standing.ts';
import { SessionTokens } from './session-token.ts';

const oldKey = randomBytes(32);
const newKey = randomBytes(32);
const at: Seen = {
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
    ['eu', [{ ...at, systemId: 5n, timeline: 1 }]],
    ['asia', [{ ...at, systemId: 6n }]],
  ]),
  seenThrough: new Map(),
};
const seal = (any: Session) => new SessionTokens([oldKey]).seal(any);
/** Through a reader that has not seen the token before. */
const open = (token: string) => new SessionTokens([oldKey]).open(token);

test('a session comes back as it was sealed', () => {
  expect(open(seal(session))).toEqual({ kind: 'session', session, current: true });
});

describe('the length of a token', () => {
  test('of three regions takes 124 characters', () => {
    expect(seal(session).length).toBe(124);
    expect(
      seal({ ...session, subject: undefined, home: undefined, floors: new Map() }),
    ).toHaveLength(28);
  });

  test('of three regions with names of eight letters is below 200, whatever they hold', () => {
    const largest = { timeline: 2 ** 32 - 1, lsn: 2n ** 64n - 1n, onReplica: true };
    const names = ['europe-1', 'us-east1', 'asia-002'];
    const floors = names.map((name, i): [string, Seen[]] => [
      name,
      [{ ...largest, systemId: 2n ** 64n - 1n - BigInt(i) }],
    ]);
    const full = { ...session, home: 'europe-1', epoch: 2 ** 32 - 1, floors: new Map(floors) };
    expect(seal(full).length).toBe(183);
    // And with a copy of each read in another one.
    const [a = '', b = '', c = ''] = names;
    const seenThrough = new Map([
      [a, b],
      [b, c],
      [c, '*'],
    ]);
    expect(seal({ ...full, seenThrough }).length).toBe(191);
  });

  test('of 32 regions that have all been promoted three times is what an edge still reads', () => {
    const floors = new Map(
      Array.from({ length: 32 }, (_, region): [string, Seen[]] => [
        `region-with-no${String(region).padStart(2, '0')}`,
        Array.from({ length: POSITIONS_MAX }, (_, i) => ({
          systemId: 2n ** 64n - 1n - BigInt(region),
          timeline: 2 ** 32 - 9 + i,
          lsn: 2n ** 64n - 1n,
          onReplica: true,
        })),
      ]),
    );
    const full = { ...session, home: 'region-with-no00', epoch: 2 ** 32 - 1, floors };
    const token = seal(full);
    expect(token.length).toBe(3_724);
    expect(open(token)).toMatchObject({ session: full });
  });
});

test('any session survives, the largest numbers included', () => {
  fc.assert(
    fc.property(anySession, (any) => {
      expect(open(seal(any))).toEqual({ kind: 'session', session: any, current: true });
    }),
  );
});

test('equal sessions make equal tokens, in whatever order they were put together', () => {
  fc.assert(
    fc.property(anySession, fc.infiniteStream(fc.nat()), (any, random) => {
      const shuffled = <T>(items: Iterable<T>): T[] =>
        [...items]
          .map((item) => ({ item, key: random.next().value ?? 0 }))
          .sort((a, b) => a.key - b.key)
          .map(({ item }) => item);
      const same = {
        ...any,
        floors: new Map(shuffled(any.floors).map(([name, floor]) => [name, shuffled(floor)])),
        seenThrough: new Map(shuffled(any.seenThrough)),
      };
      expect(seal(same)).toBe(seal(any));
    }),
  );
});

test('what was merged from tokens is what was merged from sessions', () => {
  const pair = anySubject.chain((subject) =>
    fc.tuple(anySession, anySession).map(([a, b]) => [
      { ...a, subject },
      { ...b, subject },
    ]),
  );
  fc.assert(
    fc.property(pair, ([a, b]) => {
      const [x, y] = [a, b].map((one) => open(seal(one as Session)));
      if (x?.kind !== 'session' || y?.kind !== 'session') throw new Error('does not open');
      expect(merge(x.session, y.session)).toEqual(merge(a as Session, b as Session));
    }),
  );
});

test('beyond four histories of a region the oldest travel as one that is lost', () => {
  const floor = [2, 3, 5, 8, 9, 12].map((timeline) => ({ ...at, timeline }));
  const opened = open(seal({ ...session, floors: new Map([['eu', floor]]) }));
  if (opened.kind !== 'session') throw new Error(opened.kind);
  expect(opened.session.floors.get('eu')?.map(({ timeline }) => timeline)).toEqual([
    NO_TIMELINE,
    8,
    9,
    12,
  ]);
});

describe('rotation', () => {
  const token = seal(session);
  test('a token of the old key opens while both keys live, and is better replaced', () => {
    const tokens = new SessionTokens([newKey, oldKey]);
    for (const _ of ['first', 'from memory']) {
      expect(tokens.open(token)).toEqual({ kind: 'session', session, current: false });
    }
    expect(tokens.open(tokens.seal(session))).toMatchObject({ current: true });
  });
  test('a token of the new key opens where it is not yet the first', () => {
    const token = new SessionTokens([newKey]).seal(session);
    expect(new SessionTokens([oldKey, newKey]).open(token)).toMatchObject({ session });
  });
  test('a token of a retired key is forged', () => {
    expect(new SessionTokens([newKey]).open(token).kind).toBe('session-token-forged');
  });
});

test('no flipped bit goes unnoticed', () => {
  const bytes = Buffer.from(seal(session), 'base64url');
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const flipped = Buffer.from(bytes);
    flipped.writeUInt8(flipped.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
    const opened = open(flipped.toString('base64url'));
    expect(opened.kind, `bit ${bit}`).not.toBe('session');
  }
});

test.each([
  ['', 'not base64url'],
  ['a b', 'not base64url'],
  ['AQ', 'too short'],
  [Buffer.alloc(40, 9).toString('base64url'), 'version 9, this edge reads 3'],
])('%j is refused as malformed with its reason', (token, why) => {
  expect(open(token)).toEqual({ kind: 'session-token-malformed', why });
});

test('a word that is longer than any token is refused before anything looks into it', () => {
  const kind = 'session-token-malformed';
  expect(open('A'.repeat(4_001))).toEqual({ kind, why: 'longer than 4000 characters' });
  expect(open('A'.repeat(4_000))).toEqual({ kind, why: 'version 0, this edge reads 3' });
});

test('no prefix of a token opens', () => {
  const token = seal(session);
  for (let length = 0; length < token.length; length++) {
    expect(open(token.slice(0, length)).kind).not.toBe('session');
  }
});

describe('bytes that a live key has signed', () => {
  const signed = (body: Uint8Array) => {
    const tag = createHmac('sha256', oldKey).update(body).digest().subarray(0, 16);
    return Buffer.concat([body, tag]).toString('base64url');
  };
  const bodyOf = (any: Session) => Buffer.from(seal(any), 'base64url').subarray(0, -16);
  const strange = { kind: 'session-token-malformed', why: 'not of the form of version 3' };

  test('open when they are a session, as the positive control', () => {
    expect(open(signed(bodyOf(session)))).toMatchObject({ session });
  });

  test('never throw, and open only when they are what would be written', () => {
    const body = fc.oneof(
      fc.uint8Array({ maxLength: 80 }).map((rest) => Buffer.from([3, ...rest])),
      fc.uint8Array({ maxLength: 80 }).map((rest) => Buffer.from([2, ...rest])),
      // Nearly a session: one byte is another, is missing, or is there twice.
      fc
        .tuple(anySession, fc.nat(), fc.nat(255), fc.constantFrom(0, 1, 2))
        .map(([any, where, byte, width]) => {
          const bytes = bodyOf(any);
          const from = 1 + (where % (bytes.length - 1));
          return Buffer.concat([
            bytes.subarray(0, from),
            Buffer.from([byte]),
            bytes.subarray(from + width),
          ]);
        }),
    );
    fc.assert(
      fc.property(body, (bytes) => {
        const opened = open(signed(bytes));
        if (opened.kind !== 'session') expect(opened.kind).toBe('session-token-malformed');
        else if (bytes[0] === 3) expect(seal(opened.session)).toBe(signed(bytes));
      }),
      { numRuns: 2_000 },
    );
  });

  test.each([
    ['trailing bytes', (body: Buffer) => Buffer.concat([body, Buffer.from([0])])],
    ['nothing but a shape', () => Buffer.from([3, 0])],
    ['a number with an empty last byte', () => Buffer.from([3, 0x80, 0, 0, 0, 0])],
    ['a name that nobody uses', () => Buffer.from([3, 0, 0, 1, 16, 0x65, 0x75, 0])],
    ['names out of order', () => Buffer.from([3, 0, 0, 2, ...named('b', 1), ...named('a', 1), 0])],
    ['a name twice', () => Buffer.from([3, 0, 0, 2, ...named('a', 1), ...named('a', 2), 0])],
    [
      'a position twice',
      () => Buffer.from([3, 0, 0, 1, 8 + 2, 0x61, 4, ...Array(8).fill(1), 1, 6, 2, 0]),
    ],
    [
      'a position beyond 64 bits',
      () =>
        Buffer.from([
          3,
          0,
          0,
          1,
          8 + 1,
          0x61,
          4,
          ...Array(8).fill(1),
          ...Array(9).fill(0xff),
          2,
          0,
        ]),
    ],
    ['a home of no name', () => Buffer.from([3, 4, 0, 0, 0])],
    ['more names than bytes', () => Buffer.from([3, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x7f])],
    ['a timeline without end', () => Buffer.from([3, 0, 0, 1, 9, 0x61, ...Array(60).fill(0xff)])],
  ])('with %s are malformed', (_what, bend) => {
    expect(open(signed(bend(bodyOf(session))))).toEqual(strange);
  });

  /** A region with one position. */
  function named(name: string, lsn: number): number[] {
    return [8 + 1, name.charCodeAt(0), 4, ...Array(8).fill(lsn), lsn];
  }

  test('of the version before open, and are better replaced', () => {
    const position = (timeline: number, lsn: bigint) => {
      const bytes = Buffer.alloc(20);
      bytes.writeBigUInt64BE(at.systemId);
      bytes.writeUInt32BE(timeline, 8);
      bytes.writeBigUInt64BE(lsn, 12);
      return bytes;
    };
    const text = (word: string) => Buffer.from([word.length, ...Buffer.from(word)]);
    const body = Buffer.concat([
      Buffer.from([2, 77]),
      Buffer.alloc(16, 7),
      text('eu'),
      Buffer.from([0, 0, 0, 2, 2]),
      ...[text('us'), position(1, 9n), text('eu'), position(0x8000_0003, at.lsn)],
      Buffer.from([1]),
      ...[text('us'), text('*')],
    ]);
    expect(open(signed(body))).toEqual({
      kind: 'session',
      session: {
        ...session,
        home: 'eu',
        floors: new Map([
          ['us', [{ ...at, timeline: 1, lsn: 9n, onReplica: false }]],
          ['eu', [at]],
        ]),
        seenThrough: new Map([['us', '*']]),
      },
      current: false,
    });
    for (let length = 2; length < body.length; length++) {
      expect(open(signed(body.subarray(0, length))).kind).toBe('session-token-malformed');
    }
    expect(open(signed(Buffer.concat([body, Buffer.from([0])]))).kind).toBe(
      'session-token-malformed',
    );
  });
});
