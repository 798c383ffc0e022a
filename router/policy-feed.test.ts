import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import type { Policy } from '../policies/policy.ts';
import { readCatalogue } from '../regions/read-catalogue.ts';
import { PolicyFeed } from './policy-feed.ts';
import { type Opening, policyFromField } from './policy-in-force.ts';
import type { Origin, PolicyRecord } from './policy-record.ts';
import { readPolicyText } from './read-files.ts';

const storefront = (name: string) =>
  readFileSync(new URL(`../examples/storefront/${name}`, import.meta.url), 'utf8');
const text = (version: number) =>
  storefront('residency.yaml').replace(/^version: 1$/m, `version: ${version}`);
const catalogue = (() => {
  const read = readCatalogue(storefront('regions.yaml'), 'regions.yaml');
  if ('complaints' in read) throw new Error('regions.yaml');
  return read.catalogue;
})();
const policy = (version: number): Policy => {
  const read = readPolicyText(text(version), 'residency.yaml', catalogue);
  if ('complaints' in read) throw new Error(read.complaints.join('\n'));
  return read.policy;
};

const PRIMARY: Origin = { role: 'primary', systemId: 1n, timeline: 1 };
const REPLICA: Origin = { ...PRIMARY, role: 'replica' };
const CARDS: Opening = { name: 'public_profiles', home: 'us' };
const PRODUCTS: Opening = { name: 'products', home: 'us' };

function sha256(of: string): string {
  return createHash('sha256').update(of).digest('hex');
}

function recorded(
  stamp: number,
  version: number | undefined,
  openings: readonly Opening[] = [CARDS, PRODUCTS],
  origin: Origin = PRIMARY,
): PolicyRecord {
  const said = version === undefined ? undefined : text(version);
  return {
    origin,
    stamp: BigInt(stamp),
    everRecorded: true,
    inForce:
      version === undefined || said === undefined
        ? []
        : [{ version, text: said, sha256: sha256(said) }],
    openings,
  };
}

function newFeed(ask?: (heardOf: number) => Promise<PolicyRecord>) {
  const lines: Record<string, unknown>[] = [];
  const feed = new PolicyFeed({
    here: 'eu',
    file: { policy: policy(1), text: text(1) },
    read: (of, label) => readPolicyText(of, label, catalogue),
    ask: ask ?? (() => Promise.reject(new Error('nobody answers'))),
    log: (line) => lines.push(line),
  });
  return { feed, lines, events: () => lines.map(({ event }) => event) };
}

test('before any database was heard, the file counts and no copy is served', () => {
  const { current } = newFeed().feed;
  expect([current.version, current.field]).toEqual([1, '1;file']);
  expect(current.serves('public_profiles', 'us')).toBe(false);
  expect(current.serves('products', 'us')).toBe(false);
  expect(current.declaresMirror('public_profiles')).toBe(true);
});

test('where no version was ever recorded, a copy is open if the policy allows it', () => {
  const { feed } = newFeed();
  feed.take({ ...recorded(0, undefined, []), everRecorded: false });
  expect(feed.current.field).toBe('1;file');
  expect(feed.current.serves('public_profiles', 'us')).toBe(true);
  expect(feed.current.serves('public_profiles', 'eu')).toBe(false);
  expect(feed.current.serves('products', 'us')).toBe(true);
});

test('from the first recorded version on, in force or not, only what is open is served', () => {
  const { feed } = newFeed();
  feed.take(recorded(1, undefined, [CARDS]));
  expect(feed.current.field).toBe('1;file');
  expect(feed.current.serves('public_profiles', 'us')).toBe(true);
  expect(feed.current.serves('public_profiles', 'asia')).toBe(false);
  expect(feed.current.serves('products', 'us')).toBe(false);
});

test('an opening that the policy does not allow opens nothing', () => {
  const { feed } = newFeed();
  feed.take(
    recorded(1, 1, [
      { name: 'public_profiles', home: 'eu' },
      { name: 'orders', home: 'us' },
    ]),
  );
  expect(feed.current.serves('public_profiles', 'eu')).toBe(false);
  expect(feed.current.serves('orders', 'us')).toBe(false);
});

test('what the region has recorded wins over the file, and a difference is said once', () => {
  const { feed, lines, events } = newFeed();
  feed.take(recorded(1, 3));
  feed.take(recorded(2, 4));
  expect(feed.current.field).toBe('4');
  expect(lines[0]).toMatchObject({ event: 'policy-file-differs', file: 1, recorded: 3 });
  expect(events()).toEqual(['policy-file-differs', 'policy-in-force', 'policy-in-force']);
});

test('the file that is recorded word for word is no difference', () => {
  const { feed, events } = newFeed();
  feed.take(recorded(1, 1));
  expect(feed.current.field).toBe('1');
  expect(events()).toEqual(['policy-in-force']);
});

test('a request that has taken the object keeps it whole while the next one comes', () => {
  const { feed } = newFeed();
  feed.take(recorded(1, 2, [CARDS]));
  const taken = feed.current;
  feed.take(recorded(2, 3, []));
  expect([taken.version, taken.policy.version, taken.serves('public_profiles', 'us')]).toEqual([
    2,
    2,
    true,
  ]);
  expect([feed.current.version, feed.current.serves('public_profiles', 'us')]).toEqual([3, false]);
});

test('a replica that lags takes nothing back', () => {
  const { feed } = newFeed();
  feed.take(recorded(7, 3, []));
  expect(feed.hasNews(REPLICA, 6n)).toBe(false);
  feed.take(recorded(6, 3, [CARDS], REPLICA));
  expect(feed.current.serves('public_profiles', 'us')).toBe(false);
  feed.take(recorded(6, 2, [CARDS], REPLICA));
  expect(feed.current.version).toBe(3);
});

test('the same stamp is no news, and a higher one is, whoever says it', () => {
  const { feed } = newFeed();
  expect(feed.hasNews(REPLICA, 0n)).toBe(true);
  feed.take(recorded(7, 3));
  expect([6n, 7n, 8n].map((stamp) => feed.hasNews(REPLICA, stamp))).toEqual([false, false, true]);
  expect([6n, 7n, 8n].map((stamp) => feed.hasNews(PRIMARY, stamp))).toEqual([false, false, true]);
});

test('a lower version is never put in force, whatever its stamp', () => {
  const { feed } = newFeed();
  feed.take(recorded(7, 3));
  feed.take(recorded(8, 2, [CARDS]));
  expect(feed.current.version).toBe(3);
  // What is open is a fact about this region, and that record is the newest.
  expect(feed.current.serves('products', 'us')).toBe(false);
  expect(feed.current.serves('public_profiles', 'us')).toBe(true);
});

test('stamps of a promoted primary begin anew, and an older timeline is not believed', () => {
  const { feed } = newFeed();
  feed.take(recorded(7, 3, [CARDS]));
  const promoted: Origin = { ...PRIMARY, timeline: 2 };
  // It has received the new timeline and may not have replayed as far.
  expect(feed.hasNews({ ...promoted, role: 'replica' }, 5n)).toBe(false);
  expect(feed.hasNews(promoted, 5n)).toBe(true);
  feed.take(recorded(5, 3, [], promoted));
  expect(feed.current.serves('public_profiles', 'us')).toBe(false);
  expect(feed.hasNews(PRIMARY, 99n)).toBe(false);
  feed.take(recorded(99, 3, [CARDS]));
  expect(feed.current.serves('public_profiles', 'us')).toBe(false);
});

test('a cluster that was made anew and has recorded nothing closes its copies, not its policy', () => {
  const { feed } = newFeed();
  feed.take(recorded(7, 3));
  const rebuilt: Origin = { ...PRIMARY, systemId: 2n };
  feed.take({ ...recorded(0, undefined, [], rebuilt), everRecorded: false });
  expect(feed.current.version).toBe(3);
  expect(feed.current.serves('products', 'us')).toBe(false);
});

test.each([
  ['a text that is no policy', 'version: 3\nnonsense', 'not the YAML'],
  [
    'a policy for other regions',
    text(3).replace('reference: { owner: us }', 'reference: { owner: mars }'),
    'mars',
  ],
  ['another version than its text', text(4), 'the text says 4'],
])('%s leaves the old one in force, and is said once by name', (_what, said, why) => {
  const { feed, lines } = newFeed();
  feed.take(recorded(1, 2, [CARDS]));
  lines.length = 0;
  const broken = { version: 3, text: said, sha256: sha256(said) };
  feed.take({ ...recorded(2, undefined, []), inForce: [broken] });
  feed.take({ ...recorded(3, undefined, [PRODUCTS]), inForce: [broken] });
  expect(feed.current.version).toBe(2);
  expect(feed.current.serves('products', 'us')).toBe(true);
  const complaints = lines.filter(({ event }) => event === 'policy-unreadable');
  expect(complaints).toEqual([
    expect.objectContaining({ version: 3, inForce: 2, why: expect.stringContaining(why) }),
  ]);
  feed.take(recorded(4, 4));
  expect(feed.current.version).toBe(4);
});

test('an edge that starts after a mistake is under the version before it, like those that ran on', () => {
  const { feed } = newFeed();
  const broken = { version: 4, text: 'nonsense', sha256: sha256('nonsense') };
  const before = [3, 2].map((version) => ({
    version,
    text: text(version),
    sha256: sha256(text(version)),
  }));
  feed.take({ ...recorded(1, undefined), inForce: [broken, ...before] });
  expect(feed.current.field).toBe('3');
});

test('a text that was changed after it was recorded is not put in force, and is said once', () => {
  const { feed, events } = newFeed();
  feed.take(recorded(1, 2));
  feed.take({
    ...recorded(2, undefined),
    inForce: [{ version: 3, text: text(3), sha256: sha256(text(2)) }],
  });
  const other = text(2).replace('because: First', 'because: Other');
  for (const stamp of [3, 4]) {
    feed.take({
      ...recorded(stamp, undefined),
      inForce: [{ version: 2, text: other, sha256: sha256(other) }],
    });
  }
  expect(feed.current.policy.because).toContain('First');
  expect(feed.current.version).toBe(2);
  expect(events().filter((event) => event === 'policy-unreadable')).toHaveLength(2);
});

test('questions that arrive together are one, and one that nobody answers changes nothing', async () => {
  const asked: number[] = [];
  const { feed } = newFeed((heardOf) => {
    asked.push(heardOf);
    return heardOf === 9
      ? Promise.reject(new Error('silent'))
      : Promise.resolve(recorded(1, heardOf));
  });
  await Promise.all([feed.refresh(2), feed.refresh(2), feed.refresh(9)]);
  expect(asked).toEqual([2, 9]);
  expect(feed.current.version).toBe(2);
});

test('a version heard of elsewhere is taken at the stamp that is known already', async () => {
  const { feed } = newFeed((heardOf) => Promise.resolve(recorded(5, heardOf)));
  feed.take(recorded(5, 2));
  await feed.refresh(3);
  expect(feed.current.version).toBe(3);
  // The region itself follows later, with the lower version still in force until then.
  feed.take(recorded(6, 2));
  expect(feed.current.version).toBe(3);
});

test.each([
  ['3', { version: 3, recorded: true }],
  ['12;file', { version: 12, recorded: false }],
  ['', undefined],
  ['3;other', undefined],
  ['-1', undefined],
])('the field "%s" of another edge says %j', (field, said) => {
  expect(policyFromField(field)).toEqual(said);
});
