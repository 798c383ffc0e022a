/** Which tokens get in, and what wrong ones cost whom. */
import { describe, expect, test } from 'vitest';
import {
  ATTEMPTS_MAX,
  Credentials,
  networkOf,
  type Person,
  sha256,
  TOKEN_CHARS_MIN,
  type VerifyJwt,
} from './credentials.ts';
import type { StaticOperator } from './operators-file.ts';

const TOKEN = 'v'.repeat(TOKEN_CHARS_MIN);
const JWT = 'aaa.bbb.ccc';
const ADA: StaticOperator = { name: 'ada', role: 'viewer', sha256: sha256(TOKEN) };

function credentials(verifyJwt?: VerifyJwt, operators = [ADA]) {
  const time = { ms: 0 };
  const allowed = { operators: { operators, issuers: [] }, verifyJwt, version: 1 };
  const kept = new Credentials({
    allowed,
    now: () => time.ms,
    wallClock: () => time.ms,
  });
  return { kept, time, allowed };
}

describe('a token of our own', () => {
  test('gets in by its hash and with its role', async () => {
    expect(await credentials().kept.of(TOKEN, 'here')).toMatchObject({
      kind: 'known',
      person: { name: 'ada', role: 'viewer', expiresAtMs: undefined },
    });
  });

  test.each([TOKEN.toUpperCase(), `${TOKEN}x`, TOKEN.slice(1), '', sha256(TOKEN).toString('hex')])(
    'is not %j',
    async (token) => {
      expect(await credentials().kept.of(token, 'here')).toEqual({ kind: 'unknown' });
    },
  );

  test('that is short enough to be guessed is none, whatever the file says', async () => {
    const short = 'x'.repeat(TOKEN_CHARS_MIN - 1);
    const { kept } = credentials(undefined, [{ ...ADA, sha256: sha256(short) }]);
    expect(await kept.of(short, 'here')).toEqual({ kind: 'unknown' });
  });
});

describe('wrong tokens', () => {
  test('are looked at so many times, then one a second', async () => {
    const { kept, time } = credentials();
    for (let n = 0; n < ATTEMPTS_MAX; n++) {
      expect(await kept.of('wrong', 'there')).toEqual({ kind: 'unknown' });
    }
    expect(await kept.of('wrong', 'there')).toEqual({ kind: 'limited', retryAfterMs: 1_000 });
    time.ms = 999;
    expect(await kept.of('wrong', 'there')).toMatchObject({ kind: 'limited' });
    time.ms = 1_000;
    expect(await kept.of('wrong', 'there')).toEqual({ kind: 'unknown' });
    expect(await kept.of('wrong', 'there')).toMatchObject({ kind: 'limited' });
  });

  test('of one address say nothing of another, and keep no right one out', async () => {
    const { kept } = credentials();
    for (let n = 0; n <= ATTEMPTS_MAX; n++) await kept.of('wrong', 'there');
    expect(await kept.of('wrong', 'elsewhere')).toEqual({ kind: 'unknown' });
    expect(await kept.of(TOKEN, 'there')).toMatchObject({ kind: 'known' });
  });

  test('that come at once are counted before any is verified', async () => {
    let verified = 0;
    const { kept } = credentials(async () => {
      verified++;
      return undefined;
    });
    const all = Array.from({ length: 3 * ATTEMPTS_MAX }, () => kept.of(JWT, 'there'));
    const limited = (await Promise.all(all)).filter(({ kind }) => kind === 'limited');
    expect([verified, limited.length]).toEqual([ATTEMPTS_MAX, 2 * ATTEMPTS_MAX]);
  });

  test('are counted for the network of an IPv6 address', () => {
    expect(networkOf('2001:db8:1:2:3:4:5:6')).toBe(networkOf('2001:db8:1:2:ffff::1'));
    expect(networkOf('2001:db8:1:2::1')).not.toBe(networkOf('2001:db8:1:3::1'));
    expect(networkOf('::ffff:10.0.0.1')).not.toBe(networkOf('::ffff:10.0.0.2'));
  });
});

describe('a signed token', () => {
  const EVE: Person = { id: 'eve', name: 'eve', role: 'operator', entry: 'e', expiresAtMs: 60_000 };

  test('is verified once in a while, never beyond its end, and costs no attempt', async () => {
    let verified = 0;
    const { kept, time } = credentials(async () => {
      verified++;
      return EVE;
    });
    for (let n = 0; n < 3 * ATTEMPTS_MAX; n++) {
      expect(await kept.of(JWT, 'there')).toEqual({ kind: 'known', person: EVE });
    }
    expect(verified).toBe(1);
    time.ms = 30_000;
    await kept.of(JWT, 'there');
    expect(verified).toBe(2);
    time.ms = 59_999;
    expect(await kept.of(JWT, 'there')).toMatchObject({ kind: 'known' });
    time.ms = 60_000;
    expect(await kept.of(JWT, 'there')).toEqual({ kind: 'unknown' });
  });

  test('is not even tried when it has not the form of one', async () => {
    const { kept } = credentials(async () => {
      throw new Error('tried');
    });
    for (const token of ['a.b', 'a.b.c.d', 'a.b.c!', `${'a'.repeat(17_000)}.b.c`]) {
      expect(await kept.of(token, token.slice(0, 9))).toEqual({ kind: 'unknown' });
    }
  });
});
