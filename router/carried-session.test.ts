import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { bind, floorOf, NO_SESSION, raise, type Session } from '../policies/session.ts';
import { type Seen, standing } from '../policies/standing.ts';
import {
  type Carried,
  carriedSession,
  cookieFields,
  isLoopback,
  TOKENS_MAX,
} from './carried-session.ts';
import { SessionTokens } from './session-token.ts';

const key = randomBytes(32);
const tokens = new SessionTokens([key]);
const forger = new SessionTokens([randomBytes(32)]);

const ADA = Buffer.alloc(16, 1).toString('base64url');
const BOB = Buffer.alloc(16, 2).toString('base64url');
const at = (lsn: number): Seen => ({
  systemId: 7n,
  timeline: 1,
  lsn: BigInt(lsn),
  onReplica: false,
});
const ada = bind(NO_SESSION, ADA, 'eu', 1);
const bob = bind(NO_SESSION, BOB, 'us', 1);
const upTo = (lsn: number, session = ada) => raise(session, 'eu', at(lsn));
const sealed = (lsn: number, session = ada) => tokens.seal(upTo(lsn, session));
const lsnOf = (session: Session) => floorOf(session, 'eu')[0]?.lsn;

/** As an answer sets it. */
function cookie(token: string): string {
  const [field = ''] = cookieFields(
    carriedSession(undefined, undefined, tokens).cookies,
    token,
    false,
  );
  return field.slice(0, field.indexOf(';'));
}
const jarOf = (...list: string[]) => list.map(cookie).join('; ');

describe('a request', () => {
  test('without a token begins a session, and its answer sets a cookie', () => {
    const carried = carriedSession(undefined, 'theme=dark; lang=de', tokens);
    expect(carried).toEqual({
      session: NO_SESSION,
      retell: false,
      cookies: { kind: 'when-told', spent: [] },
      failure: undefined,
    });
  });

  test('with one token has the session that was sealed, itself', () => {
    const session = upTo(5);
    const token = tokens.seal(session);
    expect(carriedSession(token, undefined, tokens).session).toBe(session);
    expect(carriedSession(undefined, cookie(token), tokens).session).toBe(session);
    expect(carriedSession(token, cookie(token), tokens).session).toBe(session);
  });

  test.each([
    ['a list', (a: string, b: string) => `${a}, ${b}`],
    ['a list without spaces, with empty members', (a: string, b: string) => `,${a},,${b},`],
    ['the same one again', (a: string, b: string) => `${a}, ${b}, ${a}`],
  ])('with several tokens in the header, as %s, has seen what all have', (_what, list) => {
    const carried = carriedSession(list(sealed(5), sealed(9)), undefined, tokens);
    expect(carried).toMatchObject({ retell: true, failure: undefined });
    expect(lsnOf(carried.session)).toBe(9n);
  });

  test('with several cookies has seen what all have, and ends them', () => {
    const jar = `theme=dark; ${jarOf(sealed(9), sealed(5))}; domicile-sessions=1; lang=de`;
    const carried = carriedSession(undefined, jar, tokens);
    expect(lsnOf(carried.session)).toBe(9n);
    expect(carried.cookies.spent.map(({ token }) => token)).toEqual([sealed(9), sealed(5)]);
  });

  test('with the cookie of the version before keeps its session, and ends it', () => {
    const carried = carriedSession(undefined, `domicile-session=${sealed(5)}`, tokens);
    expect(lsnOf(carried.session)).toBe(5n);
    expect(cookieFields(carried.cookies, sealed(6), false)[0]).toBe(
      'domicile-session=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax',
    );
  });

  test('that brings a token of an older key is given a newer one', () => {
    const later = new SessionTokens([randomBytes(32), key]);
    expect(carriedSession(sealed(5), undefined, later)).toMatchObject({ retell: true });
    expect(carriedSession(later.seal(upTo(5)), undefined, later)).toMatchObject({ retell: false });
  });
});

describe('header and cookies together', () => {
  test('are merged, and the cookies that were merged are replaced', () => {
    for (const [header, jar] of [
      [5, 9],
      [9, 5],
    ] as const) {
      const carried = carriedSession(sealed(header), jarOf(sealed(jar)), tokens);
      expect(lsnOf(carried.session)).toBe(9n);
      expect(carried).toMatchObject({ retell: true, cookies: { kind: 'when-told' } });
      expect(carried.cookies.spent).toHaveLength(1);
    }
  });

  test('of two people: the header says whose session it is, and the jar is left alone', () => {
    const jar = jarOf(sealed(7, bob), sealed(8, bob));
    const carried = carriedSession(sealed(5), jar, tokens);
    expect(carried).toMatchObject({ retell: false, failure: undefined });
    expect([carried.session.subject, lsnOf(carried.session)]).toEqual([ADA, 5n]);
    expect(cookieFields(carried.cookies, sealed(6), false)).toEqual([]);
  });

  test('of the header alone: no cookie is set for a client that keeps none', () => {
    const carried = carriedSession(sealed(5), 'theme=dark', tokens);
    expect(cookieFields(carried.cookies, sealed(6), false)).toEqual([]);
  });

  test('of nobody yet in the header: cookies say whose session it is', () => {
    const nobody = sealed(5, NO_SESSION);
    const carried = carriedSession(nobody, jarOf(sealed(9)), tokens);
    expect([carried.session.subject, lsnOf(carried.session)]).toEqual([ADA, 9n]);
    const mixed = carriedSession(nobody, jarOf(sealed(9), sealed(9, bob)), tokens);
    expect(mixed.failure?.kind).toBe('session-tokens-of-two-subjects');
  });
});

describe('is refused', () => {
  const refusal = (carried: Carried) => {
    expect(carried.session).toBe(NO_SESSION);
    return carried.failure;
  };

  test('a header without a token', () => {
    for (const header of ['', ' ', ',', ' , ']) {
      expect(refusal(carriedSession(header, undefined, tokens))).toEqual({
        kind: 'session-token-malformed',
        why: 'empty',
        which: undefined,
      });
    }
  });

  test('a list with one bad token, and it is said which', () => {
    const forged = forger.seal(upTo(5));
    const refused = (header: string) => refusal(carriedSession(header, undefined, tokens));
    expect(refused(forged)).toEqual({ kind: 'session-token-forged', which: undefined });
    expect(refused(`${sealed(5)}, ${forged}, ${sealed(6)}`)).toEqual({
      kind: 'session-token-forged',
      which: 'Token 2 of the header',
    });
    expect(refused(`${sealed(5)}, x!`)).toEqual({
      kind: 'session-token-malformed',
      why: 'not base64url',
      which: 'Token 2 of the header',
    });
  });

  test('a jar with bad cookies, and the answer ends these alone', () => {
    const forged = forger.seal(upTo(5));
    const jar = `${jarOf(sealed(5), forged)}; domicile-session-x=`;
    const carried = carriedSession(undefined, jar, tokens);
    const name = `domicile-session-${forged.slice(-8)}`;
    expect(refusal(carried)).toEqual({ kind: 'session-token-forged', which: `The cookie ${name}` });
    expect(cookieFields(carried.cookies, undefined, true)).toEqual([
      `${name}=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax; Secure`,
      'domicile-session-x=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax; Secure',
    ]);
  });

  test('a header with tokens of two subjects', () => {
    const carried = carriedSession(`${sealed(5)}, ${sealed(5, bob)}`, undefined, tokens);
    expect(refusal(carried)).toEqual({ kind: 'session-tokens-of-two-subjects' });
    expect(cookieFields(carried.cookies, undefined, false)).toEqual([]);
  });

  test('a jar of two subjects, and the answer empties it', () => {
    const carried = carriedSession(undefined, jarOf(sealed(5), sealed(5, bob)), tokens);
    expect(refusal(carried)).toEqual({ kind: 'session-tokens-of-two-subjects' });
    expect(cookieFields(carried.cookies, undefined, false)).toHaveLength(2);
  });

  test('more tokens than are taken, with one that covers them all', () => {
    const list = (count: number) => Array.from({ length: count }, (_, lsn) => sealed(lsn));
    expect(carriedSession(list(TOKENS_MAX).join(), undefined, tokens).failure).toBeUndefined();
    const many = list(TOKENS_MAX + 1);
    expect(carriedSession([...many.slice(1), many[5]].join(), undefined, tokens).failure).toBe(
      undefined,
    );
    for (const carried of [
      carriedSession(many.join(), undefined, tokens),
      carriedSession(undefined, jarOf(...many), tokens),
    ]) {
      expect(carried.failure).toEqual({
        kind: 'session-tokens-too-many',
        why: '65 tokens came; at most 64 are taken. The answer carries one that covers them',
      });
      expect([lsnOf(carried.session), carried.retell]).toEqual([64n, true]);
    }
    const { cookies, session } = carriedSession(undefined, jarOf(...many), tokens);
    // The token that covers them is the last one itself.
    const fields = cookieFields(cookies, tokens.seal(session), false);
    expect(fields.filter((field) => field.includes('Max-Age=0'))).toHaveLength(64);
  });

  test('tokens that together name more regions than there can be', () => {
    const list = Array.from({ length: 33 }, (_, i) => tokens.seal(raise(ada, `r${i}`, at(1))));
    const carried = carriedSession(undefined, jarOf(...list), tokens);
    expect(refusal(carried)).toMatchObject({ kind: 'session-tokens-too-many' });
    expect(carried.failure).toMatchObject({ why: expect.stringContaining('34 regions') });
    expect(cookieFields(carried.cookies, undefined, false)).toHaveLength(33);
  });
});

describe('cookies', () => {
  test('are not for scripts, nor for other sites, and for encrypted connections if so told', () => {
    const token = sealed(5);
    const field = `domicile-session-${token.slice(-8)}=${token}; Path=/; HttpOnly; SameSite=Lax`;
    const { cookies } = carriedSession(undefined, undefined, tokens);
    expect(cookieFields(cookies, token, false)).toEqual([field]);
    expect(cookieFields(cookies, token, true)).toEqual([`${field}; Secure`]);
    expect(cookieFields(cookies, undefined, true)).toEqual([]);
  });

  test('that are what is told are not ended', () => {
    const { cookies } = carriedSession(undefined, jarOf(sealed(5), sealed(6)), tokens);
    const fields = cookieFields(cookies, sealed(6), false);
    expect(fields.map((field) => field.slice(0, field.indexOf(';')))).toEqual([
      `${cookie(sealed(5)).split('=')[0]}=`,
      cookie(sealed(6)),
    ]);
  });

  test.each([
    ['http://127.0.0.1:7101/users', true],
    ['http://127.8.9.1', true],
    ['http://localhost/', true],
    ['http://eu.localhost:80/', true],
    ['http://[::1]:7101/', true],
    ['https://localhost/', false],
    ['http://10.2.0.4:8080/', false],
    ['http://localhost.shop.example/', false],
    ['http://127.0.0.1.shop.example/', false],
    ['http://shop.example/localhost/', false],
    ['http://shop.example/?http://localhost/', false],
  ])('%s is on this machine and not encrypted: %s', (url, expected) => {
    expect(isLoopback(url)).toBe(expected);
  });
});

describe('whatever the order in which requests are answered and answers arrive', () => {
  /** One client: requests leave with what it has, and each is answered at some later moment. */
  type Step = { kind: 'leave' } | { kind: 'answer' | 'arrive'; which: number; lsn: number };
  const steps = fc.array(
    fc.oneof(
      fc.constant<Step>({ kind: 'leave' }),
      fc.record<Step & { kind: 'answer' }>({
        kind: fc.constant('answer' as const),
        which: fc.nat(),
        lsn: fc.nat(50),
      }),
      fc.record<Step & { kind: 'arrive' }>({
        kind: fc.constant('arrive' as const),
        which: fc.nat(),
        lsn: fc.constant(0),
      }),
    ),
    { maxLength: 60, size: 'max' },
  );

  type Client = {
    /** Header and cookies of the next request. */
    sends: () => [string | undefined, string | undefined];
    takes: (
      sent: [string | undefined, string | undefined],
      token: string,
      carried: Carried,
    ) => void;
  };

  function withHeader(): Client {
    const held = new Set<string>();
    return {
      sends: () => [held.size === 0 ? undefined : [...held].join(', '), undefined],
      takes: ([sent], token) => {
        for (const one of sent?.split(', ') ?? []) held.delete(one);
        held.add(token);
      },
    };
  }

  function withCookies(): Client {
    const jar = new Map<string, string>();
    return {
      sends: () => [undefined, [...jar].map(([name, value]) => `${name}=${value}`).join('; ')],
      takes: (_sent, token, { cookies }) => {
        for (const field of cookieFields(cookies, token, false)) {
          const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(field) ?? [];
          if (field.includes('Max-Age=0')) jar.delete(name);
          else jar.set(name, value);
        }
      },
    };
  }

  test.each([
    ['tokens in the header', withHeader],
    ['cookies', withCookies],
  ])('a client with %s loses nothing that it was told, and does not gather tokens', (_what, of) => {
    let gathered = 0;
    fc.assert(
      fc.property(steps, (all) => {
        const client = of();
        const under: { sent: [string | undefined, string | undefined]; carried: Carried }[] = [];
        const answers: { sent: (typeof under)[0]['sent']; carried: Carried; session: Session }[] =
          [];
        let told = 0;
        const arrive = ({ sent, carried, session }: (typeof answers)[0]) => {
          client.takes(sent, tokens.seal(session), carried);
          told = Math.max(told, Number(lsnOf(session) ?? 0n));
        };
        const leave = () => {
          const sent = client.sends();
          const carried = carriedSession(...sent, tokens);
          expect(carried.failure).toBeUndefined();
          expect(Number(lsnOf(carried.session) ?? 0n)).toBeGreaterThanOrEqual(told);
          under.push({ sent, carried });
          gathered = Math.max(gathered, carried.cookies.spent.length);
        };
        for (const step of all) {
          if (step.kind === 'leave') leave();
          else if (step.kind === 'answer') {
            const [one] = under.splice(step.which % Math.max(1, under.length), 1);
            if (one === undefined) continue;
            const session = raise(bind(one.carried.session, ADA, 'eu', 1), 'eu', at(step.lsn));
            answers.push({ ...one, session });
          } else {
            const [one] = answers.splice(step.which % Math.max(1, answers.length), 1);
            if (one !== undefined) arrive(one);
          }
        }
        for (const one of answers) arrive(one);
        // When nothing is under way any more, one round trip leaves one token.
        leave();
        const last = under.at(-1);
        if (last === undefined) throw new Error('nothing left');
        arrive({ ...last, session: raise(last.carried.session, 'eu', at(99)) });
        const rest = carriedSession(...client.sends(), tokens);
        expect(rest.retell).toBe(false);
        expect(standing(at(99), floorOf(rest.session, 'eu'), undefined)).toBe('reached');
      }),
      { numRuns: 500 },
    );
    // The positive control: answers did cross.
    if (of === withCookies) expect(gathered).toBeGreaterThan(4);
  });
});
