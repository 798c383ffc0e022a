import { createSecretKey, randomBytes } from 'node:crypto';
import { expect, test } from 'vitest';
import { type Hop, type HopContent, HopGuard, SIGNED_FIELDS, signHop } from './hop.ts';

const key = createSecretKey(randomBytes(32));
const hop: Hop = {
  from: 'asia',
  to: 'eu',
  sender: 'abc',
  number: 1,
  budgetMs: 1_900,
  policy: { version: 3, recorded: true },
};
const content: HopContent = {
  method: 'POST',
  target: '/users/u1/orders?x=1',
  fields: SIGNED_FIELDS.map((name) => (name === 'domicile-session' ? 'AbC' : undefined)),
  body: new TextEncoder().encode('{"a":1}'),
};

test('a signed hop is genuine and says where it came from', () => {
  expect(new HopGuard('eu', key).check(signHop(hop, content, key), content)).toEqual({
    kind: 'genuine',
    hop,
  });
});

test.each<[string, Partial<HopContent>]>([
  ['method', { method: 'PUT' }],
  ['path', { target: '/users/u2/orders?x=1' }],
  ['body', { body: new TextEncoder().encode('{"a":2}') }],
  ['missing body', { body: undefined }],
])('a hop whose %s was altered is refused', (_what, altered) => {
  const verdict = new HopGuard('eu', key).check(signHop(hop, content, key), {
    ...content,
    ...altered,
  });
  expect(verdict).toEqual({ kind: 'refused', why: 'the signature does not fit the request' });
});

test.each(SIGNED_FIELDS)('a hop whose %s was altered, added or moved is refused', (name) => {
  const at = SIGNED_FIELDS.indexOf(name);
  const signed = { ...content, fields: content.fields.with(at, 'as it was sent') };
  const header = signHop(hop, signed, key);
  const verdict = (fields: HopContent['fields']) =>
    new HopGuard('eu', key).check(header, { ...signed, fields }).kind;
  expect(verdict(signed.fields)).toBe('genuine');
  expect(verdict(signed.fields.with(at, 'as it was not'))).toBe('refused');
  expect(verdict(signed.fields.with(at, undefined))).toBe('refused');
  const next = (at + 1) % SIGNED_FIELDS.length;
  const moved = signed.fields.with(at, signed.fields[next]).with(next, signed.fields[at]);
  expect(verdict(moved)).toBe('refused');
});

test('a longer budget than was signed is refused', () => {
  const signed = signHop(hop, content, key).replace(';1900;', ';9900;');
  expect(new HopGuard('eu', key).check(signed, content).kind).toBe('refused');
});

test.each([{ version: 3, recorded: true }, { version: 12, recorded: false }, undefined])(
  'the policy %j arrives as it was sent',
  (policy) => {
    const sent = { ...hop, policy };
    expect(new HopGuard('eu', key).check(signHop(sent, content, key), content)).toEqual({
      kind: 'genuine',
      hop: sent,
    });
  },
);

test('another policy version than was signed is refused', () => {
  const signed = signHop(hop, content, key).replace(';3;', ';4;');
  expect(new HopGuard('eu', key).check(signed, content).kind).toBe('refused');
});

test('a key of nobody signs nothing', () => {
  const verdict = new HopGuard('eu', key).check(
    signHop(hop, content, createSecretKey(randomBytes(32))),
    content,
  );
  expect(verdict.kind).toBe('refused');
});

test('a hop for another region is refused by name', () => {
  const verdict = new HopGuard('us', key).check(signHop(hop, content, key), content);
  expect(verdict).toEqual({ kind: 'refused', why: 'signed for "eu", received in "us"' });
});

test.each(['', 'v3', 'v2;a;b;c;1;1;3;x', 'v3;a;b;c;1;1;3;x;y', ';;;;;;;;;'])(
  '%j is no hop',
  (header) => {
    expect(new HopGuard('eu', key).check(header, content).kind).toBe('refused');
  },
);

test('the same hop counts once, in whatever order hops arrive', () => {
  const guard = new HopGuard('eu', key);
  const arrives = (number: number) =>
    guard.check(signHop({ ...hop, number }, content, key), content).kind;
  expect([3, 1, 2].map(arrives)).toEqual(['genuine', 'genuine', 'genuine']);
  expect([1, 2, 3].map(arrives)).toEqual(['refused', 'refused', 'refused']);
  expect(arrives(10_000)).toBe('genuine');
  expect(arrives(10_000 - 4_095)).toBe('genuine');
  expect(arrives(10_000 - 4_096)).toBe('refused');
  expect(arrives(10_000)).toBe('refused');
  expect(arrives(14_096)).toBe('genuine');
  expect(arrives(10_001)).toBe('genuine');
});
