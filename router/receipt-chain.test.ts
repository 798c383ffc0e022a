import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type ReceiptRow, receiptBytes, sealHash } from './receipt-chain.ts';

/** Text that looks like the encoding itself: lengths, marks and digits. */
const text = fc.string({
  unit: fc.constantFrom('\0', '\u0001', '\u0002', '1', 'a', 'é', '\u{1f3e0}'),
  maxLength: 6,
});
const maybe = fc.option(text);
const row: fc.Arbitrary<Omit<ReceiptRow, 'id'>> = fc.record({
  at_us: text,
  kind: text,
  times: fc.integer({ min: 1, max: 20 }),
  subject: fc.option(fc.uint8Array({ maxLength: 20 }).map((bytes) => Buffer.from(bytes))),
  policy: fc.integer({ min: 1, max: 20 }),
  rule: maybe,
  jurisdiction: maybe,
  from_region: maybe,
  to_region: maybe,
  reason: maybe,
  route: maybe,
  edge: text,
});

/** Reads the bytes back without knowing what wrote them. */
function parts(bytes: Buffer): (string | null)[] {
  const found: (string | null)[] = [];
  for (let at = 0; at < bytes.length; ) {
    const mark = bytes[at++];
    if (mark === 0) found.push(null);
    else {
      const length = bytes.readUInt32BE(at);
      found.push(bytes.toString('hex', at + 4, at + 4 + length));
      at += 4 + length;
    }
  }
  return found;
}

const hex = (value: string | number | Buffer | null) =>
  value === null ? null : Buffer.from(Buffer.isBuffer(value) ? value : `${value}`).toString('hex');

test('what is hashed of a receipt can be read back, so no two receipts have the same bytes', () => {
  fc.assert(
    fc.property(row, (one) => {
      expect(parts(receiptBytes(one))).toEqual([
        hex('domicile receipt'),
        hex(one.at_us),
        hex(one.kind),
        hex(one.times),
        hex(one.subject),
        hex(one.policy),
        hex(one.rule),
        hex(one.jurisdiction),
        hex(one.from_region),
        hex(one.to_region),
        hex(one.reason),
        hex(one.route),
        hex(one.edge),
      ]);
    }),
    { numRuns: 500 },
  );
});

test('absent and empty are two things, and a word cannot move to the next column', () => {
  const blank = {
    at_us: '1',
    kind: 'refuse',
    times: 1,
    subject: null,
    policy: 1,
    rule: null,
    jurisdiction: null,
    from_region: null,
    to_region: null,
    reason: null,
    route: null,
    edge: 'edge-eu',
  };
  const all = [
    blank,
    { ...blank, rule: '' },
    { ...blank, rule: 'eu' },
    { ...blank, jurisdiction: 'eu' },
    { ...blank, from_region: 'e', to_region: 'u' },
    { ...blank, from_region: 'eu', to_region: '' },
  ];
  const found = new Set(all.map((one) => receiptBytes(one).toString('hex')));
  expect(found.size).toBe(all.length);
});

test('a seal’s hash covers its region, number, predecessor, time and every receipt', () => {
  const digest = (what: string) => createHash('sha256').update(what).digest();
  const seal = {
    seq: '7',
    at_us: '1',
    ids: ['1', '2'],
    digests: Buffer.concat([digest('a'), digest('b')]),
    previous: digest('six'),
  };
  const all = [
    sealHash('eu', seal),
    sealHash('us', seal),
    sealHash('eu', { ...seal, seq: '8' }),
    sealHash('eu', { ...seal, at_us: '2' }),
    sealHash('eu', { ...seal, previous: digest('five') }),
    sealHash('eu', { ...seal, ids: ['1', '3'] }),
    sealHash('eu', { ...seal, ids: ['2', '1'] }),
    sealHash('eu', { ...seal, digests: Buffer.concat([digest('b'), digest('a')]) }),
    sealHash('eu', { ...seal, ids: ['1'], digests: digest('a') }),
  ];
  expect(new Set(all.map((hash) => hash.toString('hex'))).size).toBe(all.length);
});
