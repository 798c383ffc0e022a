import { generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, test } from 'vitest';
import { canonicalJson, type Json } from './canonical-json.ts';
import { type AuditResult, EXIT_CODE, verdictOf } from './finding.ts';
import {
  makeReport,
  openKeyPair,
  PRIVATE_KEY_FILE,
  PUBLIC_KEY_FILE,
  signReport,
  verifyReport,
} from './report.ts';

const folder = mkdtempSync(join(tmpdir(), 'domicile-report-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const CLEAN: AuditResult = {
  findings: [],
  checks: [{ name: 'settings of us-a', looked: 15, because: undefined }],
  channels: [
    {
      name: 'us-a data directory',
      positiveControl: true,
      hits: 0,
      expected: 12,
      bytes: 80_000_000,
      because: undefined,
    },
  ],
  canaries: [],
  left: [],
  leftOut: [],
};
const ABOUT = {
  startedAt: '2026-11-21T12:00:00.000Z',
  endedAt: '2026-11-21T12:00:30.000Z',
  policy: { version: 1, sha256: 'ab', because: 'Ümläute — and "quotes"' },
  regions: ['us', 'eu'],
};

describe('the verdict', () => {
  const [channel] = CLEAN.channels;
  if (channel === undefined) throw new Error('no channel');
  const finding = { kind: 'setting-leaks', region: 'us', at: 'us-a', words: 'it leaks' } as const;
  const blind = { ...channel, positiveControl: false };
  const rows: [string, AuditResult, string, number][] = [
    ['clean', CLEAN, 'clean', 0],
    ['a finding', { ...CLEAN, findings: [finding] }, 'findings', 1],
    [
      'a channel whose control was not found',
      { ...CLEAN, channels: [channel, blind] },
      'could-not-look',
      2,
    ],
    [
      'a channel that was not read to the end',
      { ...CLEAN, channels: [{ ...channel, because: 'left after 5 bytes' }] },
      'could-not-look',
      2,
    ],
    [
      'a check that could not be done',
      { ...CLEAN, checks: [{ name: 'rows', looked: 0, because: 'no answer' }] },
      'could-not-look',
      2,
    ],
    [
      'both: what was found weighs more',
      { ...CLEAN, findings: [finding], channels: [blind] },
      'findings',
      1,
    ],
  ];
  test.each(rows)('of %s', (_, result, verdict, exitCode) => {
    expect(verdictOf(result)).toBe(verdict);
    expect(EXIT_CODE[verdictOf(result)]).toBe(exitCode);
  });
});

describe('a signed report', async () => {
  const pair = await openKeyPair(folder);
  const publicKey = readFileSync(join(folder, PUBLIC_KEY_FILE), 'utf8');
  const report = makeReport(CLEAN, ABOUT);
  const text = JSON.stringify(signReport(report, pair), null, 2);

  test('is believed with the auditor’s public key, however it is laid out', () => {
    expect(verifyReport(text, publicKey)).toEqual({ kind: 'genuine', report });
    expect(verifyReport(JSON.stringify(JSON.parse(text)), publicKey).kind).toBe('genuine');
    const { signature, ...rest } = JSON.parse(text);
    const reordered = JSON.stringify({ signature, ...rest });
    expect(verifyReport(reordered, publicKey).kind).toBe('genuine');
  });

  test('is not believed when any character of it was changed', () => {
    const changed = (at: number) =>
      `${text.slice(0, at)}${text[at] === 'x' ? 'y' : 'x'}${text.slice(at + 1)}`;
    fc.assert(
      fc.property(fc.nat(text.length - 1), (at) => {
        // The name of the key is for people; it is not asked.
        const inKeyName = changed(at).includes('"publicKey"') === false;
        const name = /"publicKey": "[^"]+"/.exec(text);
        const within = name !== null && at >= name.index && at < name.index + name[0].length;
        if (inKeyName || within || /\s/.test(text[at] ?? '')) return;
        expect(verifyReport(changed(at), publicKey).kind).toBe('refused');
      }),
      { numRuns: 200 },
    );
  });

  const tampered: [string, (text: string) => string, RegExp][] = [
    ['a verdict turned', (one) => one.replace('"clean"', '"findings"'), /signature does not fit/],
    ['a finding taken away', (one) => one.replace('"hits": 0', '"hits": 1'), /signature does not/],
    ['a member added', (one) => one.replace('{', '{"more": 1,'), /signature does not fit/],
    [
      'a member said twice',
      (one) => one.replace('{', '{"verdict": "clean",'),
      /says something twice/,
    ],
    [
      'no signature',
      (one) => JSON.stringify({ ...JSON.parse(one), signature: undefined }),
      /no signature/,
    ],
    [
      'another format',
      (one) => one.replace('domicile-audit/1', 'domicile-audit/2'),
      /not of the format/,
    ],
    ['not a report', () => '[]', /no signature/],
    ['no JSON', () => 'nothing', /no JSON/],
  ];
  test.each(tampered)('is refused with %s', (_, change, because) => {
    const answer = verifyReport(change(text), publicKey);
    expect(answer).toMatchObject({ kind: 'refused', because: expect.stringMatching(because) });
  });

  test('of another auditor is refused, also when it names our key', async () => {
    const other = await openKeyPair(join(folder, 'other'));
    const theirs = JSON.stringify(signReport(report, { ...other, publicKey: pair.publicKey }));
    expect(verifyReport(theirs, publicKey).kind).toBe('refused');
  });

  test('is refused with a key that is none', () => {
    expect(verifyReport(text, 'nothing')).toMatchObject({ because: /no public key/ });
    const rsa = generateKeyPairSync('rsa', { modulusLength: 2_048 }).publicKey;
    const pem = String(rsa.export({ type: 'spki', format: 'pem' }));
    expect(verifyReport(text, pem)).toMatchObject({ because: /not one of Ed25519/ });
  });
});

describe('the key pair', () => {
  test('is made once, and its private half is for its owner only', async () => {
    const [first, second] = [await openKeyPair(folder), await openKeyPair(folder)];
    expect(first.publicKey.equals(second.publicKey)).toBe(true);
    expect(statSync(join(folder, PRIVATE_KEY_FILE)).mode & 0o777).toBe(0o600);
  });

  test('is one, when two audits begin together', async () => {
    const fresh = join(folder, 'together');
    const pairs = await Promise.all([openKeyPair(fresh), openKeyPair(fresh), openKeyPair(fresh)]);
    const later = await openKeyPair(fresh);
    expect(pairs.every(({ publicKey }) => publicKey.equals(later.publicKey))).toBe(true);
    const published = readFileSync(join(fresh, PUBLIC_KEY_FILE), 'utf8');
    expect(later.publicKey.export({ type: 'spki', format: 'pem' })).toBe(published);
  });
});

describe('canonical JSON', () => {
  test('is that of RFC 8785, section 3.2.3', () => {
    const value = {
      numbers: [Number('333333333.33333329'), 1e30, 4.5, 2e-3, 0.000000000000000000000000001],
      string: '\u20ac$\u000f\u000aA\'\u0042\u0022\u005c\\"/',
      literals: [null, true, false],
    };
    expect(canonicalJson(value)).toBe(
      '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}',
    );
  });

  test('sorts keys by UTF-16 units, as in section 3.2.3', () => {
    const value = {
      '\u20ac': 1,
      '\r': 2,
      '\ufb33': 3,
      '1': 4,
      '\ud83d\ude00': 5,
      '\u0080': 6,
      ö: 7,
    };
    expect(Object.values(JSON.parse(canonicalJson(value)))).toEqual([4, 2, 6, 7, 1, 5, 3]);
  });

  test('means the same as any other form of the value', () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 4 }), (value) => {
        const text = canonicalJson(value as Json);
        expect(JSON.parse(text)).toEqual(JSON.parse(JSON.stringify(value)));
        expect(canonicalJson(JSON.parse(text) as Json)).toBe(text);
      }),
    );
  });

  test('has no form for what JSON cannot hold', () => {
    expect(() => canonicalJson(Number.NaN)).toThrow(TypeError);
    expect(() => canonicalJson('\ud800')).toThrow(TypeError);
  });
});
