import { readFileSync } from 'node:fs';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { airlockFor, peersNearestFirst, siteOf, sitesOf } from './catalogue.ts';
import { makeAuthority } from './certificates-for-tests.ts';
import { CatalogueFile, REGIONS_MAX, readCatalogue } from './read-catalogue.ts';
import { formatComplaint } from './yaml-complaint.ts';
import { COMPLAINTS_MAX } from './yaml-file.ts';
import { jsonSchemaOf } from './yaml-json-schema.ts';

const SAMPLE = `version: 1
regions:
  us:
    title: Virginia
    database: storefront
    edges: [{ name: edge-us, url: http://127.0.0.1:7101 }]
    nodes:
      - { name: us-a, host: 127.0.0.1, port: 7110 }
      - { name: us-b, host: 127.0.0.1, port: 7111 }
    airlock: { name: us-x, host: 127.0.0.1, port: 7112 }
  eu:
    title: Frankfurt
    edges: [{ name: edge-eu, url: https://EU.example:443/ }]
    nodes: [{ name: eu-a, host: db.eu.example, port: 5432 }]
    airlock: { name: eu-x, host: "2001:db8::1", port: 5432 }
distances:
  - { between: [us, eu], roundTripMs: 85.5 }
`;

function complaints(text: string): string[] {
  const reading = readCatalogue(text, 'regions.yaml');
  return 'catalogue' in reading ? [] : reading.complaints.map(formatComplaint);
}

/** The sample with one passage changed, which must be there. */
function edited(from: string, to: string): string {
  if (!SAMPLE.includes(from)) throw new Error(`the sample has no ${from}`);
  return SAMPLE.replace(from, to);
}

test('a catalogue is read with its default database and canonical URLs', () => {
  const reading = readCatalogue(SAMPLE, 'regions.yaml');
  if (!('catalogue' in reading))
    throw new Error(reading.complaints.map(formatComplaint).join('\n'));
  const { regions, distances } = reading.catalogue;
  expect([...regions.keys()]).toEqual(['us', 'eu']);
  expect(regions.get('us')).toEqual({
    id: 'us',
    title: 'Virginia',
    database: 'storefront',
    edges: [{ name: 'edge-us', url: 'http://127.0.0.1:7101' }],
    nodes: [
      { name: 'us-a', host: '127.0.0.1', port: 7110 },
      { name: 'us-b', host: '127.0.0.1', port: 7111 },
    ],
    airlocks: [{ name: 'us-x', host: '127.0.0.1', port: 7112, peers: ['eu'] }],
  });
  expect(regions.get('eu')?.database).toBe('domicile');
  expect(regions.get('eu')?.edges[0]?.url).toBe('https://eu.example');
  expect(distances).toEqual([{ between: ['us', 'eu'], roundTripMs: 85.5 }]);
});

const EU_SHORT = '    airlock: { name: eu-x, host: "2001:db8::1", port: 5432 }\n';
const EU_SEVERAL = `    airlocks:
      - { name: eu-x, host: "2001:db8::1", port: 5432, for: [us] }
      - { name: eu-y, host: "2001:db8::1", port: 5433, for: [asia] }
`;
/** Three regions, of which eu has an airlock for each of the others. */
const THREE = edited(EU_SHORT, EU_SEVERAL).replace(
  'distances:',
  `  asia:
    title: Tokyo
    edges: [{ name: edge-asia, url: http://asia.example }]
    nodes: [{ name: asia-a, host: db.asia.example, port: 5432 }]
    airlock: { name: asia-x, host: asia.example, port: 5432 }
distances:
  - { between: [us, asia], roundTripMs: 150 }
  - { between: [eu, asia], roundTripMs: 230 }`,
);

test('a region may have an airlock for each of its peers, and one for all is the short form', () => {
  const reading = readCatalogue(THREE, 'regions.yaml');
  if (!('catalogue' in reading))
    throw new Error(reading.complaints.map(formatComplaint).join('\n'));
  const of = (id: string) => {
    const region = reading.catalogue.regions.get(id);
    if (region === undefined) throw new Error(`no ${id}`);
    return region;
  };
  expect(of('eu').airlocks).toEqual([
    { name: 'eu-x', host: '2001:db8::1', port: 5432, peers: ['us'] },
    { name: 'eu-y', host: '2001:db8::1', port: 5433, peers: ['asia'] },
  ]);
  expect(of('asia').airlocks.map(({ peers }) => peers)).toEqual([['us', 'eu']]);
  expect(airlockFor(of('eu'), 'asia').name).toBe('eu-y');
  expect(airlockFor(of('asia'), 'eu').name).toBe('asia-x');
  expect(() => airlockFor(of('eu'), 'eu')).toThrow('no airlock of eu serves eu');
});

test.each([
  [
    'a peer that two airlocks serve',
    'for: [asia]',
    'for: [asia, us]',
    [
      'regions.yaml:17:68  regions.eu.airlocks[1].for[1]: us is served by eu-x already; one airlock of eu for each region',
    ],
  ],
  [
    'a peer that one airlock serves twice',
    'for: [us]',
    'for: [us, us]',
    [
      'regions.yaml:16:66  regions.eu.airlocks[0].for[1]: us is served by eu-x already; one airlock of eu for each region',
    ],
  ],
  [
    'a peer that no airlock serves',
    '      - { name: eu-y, host: "2001:db8::1", port: 5433, for: [asia] }\n',
    '',
    ['regions.yaml:15:5  regions.eu.airlocks: none of them is for asia'],
  ],
  [
    'an airlock for its own region',
    'for: [asia]',
    'for: [asia, eu]',
    [
      'regions.yaml:17:68  regions.eu.airlocks[1].for[1]: eu has no airlock for itself; name other regions only',
    ],
  ],
  [
    'an airlock for nobody known',
    'for: [asia]',
    'for: [asai]',
    [
      'regions.yaml:15:5  regions.eu.airlocks: none of them is for asia',
      'regions.yaml:17:62  regions.eu.airlocks[1].for[0]: no region "asai"; did you mean "asia"?',
    ],
  ],
  [
    'an airlock for nobody',
    'for: [asia]',
    'for: []',
    [
      'regions.yaml:15:5  regions.eu.airlocks: none of them is for asia',
      'regions.yaml:17:61  regions.eu.airlocks[1].for: is empty: name at least one',
    ],
  ],
  [
    'an airlock among several that does not say for whom',
    ', for: [asia]',
    '',
    [
      'regions.yaml:17:9  regions.eu.airlocks[1].for: missing: the regions that read this airlock and no other one of this region',
    ],
  ],
  [
    'the short form with a list of peers',
    'port: 7112 }',
    'port: 7112, for: [eu] }',
    ['regions.yaml:10:57  regions.us.airlock.for: no such key'],
  ],
  [
    'both forms',
    '    airlocks:\n',
    '    airlock: { name: eu-z, host: h, port: 1 }\n    airlocks:\n',
    ['regions.yaml:16:5  regions.eu.airlocks: keep this key or airlock, not both'],
  ],
  [
    'neither form',
    EU_SEVERAL,
    '',
    [
      'regions.yaml:11:3  regions.eu.airlock: missing: the small separate Postgres cluster that holds only what policy lets out of this region',
    ],
  ],
  [
    'the short form misspelt',
    'airlock: { name: us-x',
    'airlok: { name: us-x',
    [
      'regions.yaml:3:3  regions.us.airlock: missing: the small separate Postgres cluster that holds only what policy lets out of this region',
      'regions.yaml:10:5  regions.us.airlok: no such key; did you mean "airlock"?',
    ],
  ],
  [
    'two airlocks of one name',
    'name: eu-y',
    'name: eu-x',
    ['regions.yaml:17:17  regions.eu.airlocks[1].name: "eu-x" is taken by a node of eu'],
  ],
  [
    'two airlocks at one address',
    'port: 5433',
    'port: 5432',
    ['regions.yaml:17:50  regions.eu.airlocks[1].port: "2001:db8::1:5432" is taken by eu-x'],
  ],
])('%s', (_, from, to, expected) => {
  if (!THREE.includes(from)) throw new Error(`the sample has no ${from}`);
  expect(complaints(THREE.replace(from, to))).toEqual(expected);
});

test('clients may be sent to another address than edges, one that several edges share', () => {
  const edges = (url: string) => `edges:
      - { name: edge-us, url: http://127.0.0.1:7101, publicUrl: "${url}" }
      - { name: edge-us-2, url: http://127.0.0.1:7100, publicUrl: "${url}" }`;
  const text = (url: string) =>
    SAMPLE.replace('edges: [{ name: edge-us, url: http://127.0.0.1:7101 }]', edges(url));
  const reading = readCatalogue(text('https://US.example:443/'), 'regions.yaml');
  if (!('catalogue' in reading)) throw new Error('complaints');
  const found = reading.catalogue.regions.get('us')?.edges;
  expect(found?.map(({ publicUrl }) => publicUrl)).toEqual([
    'https://us.example',
    'https://us.example',
  ]);
  const [first] = complaints(text('https://us.example/shop'));
  expect(first).toMatch(/^regions.yaml:7:\d+ {2}regions\.us\.edges\[0\]\.publicUrl: "https:\/\/us/);
  expect(first).toContain('is not http:// or https:// with a host and no path');
  expect(complaints(text('https://u:p@us.example')).join()).not.toContain('u:p');
});

test('a node may stand at another site of its region, which is in no other region', () => {
  const node = (site: string) =>
    edited(
      '{ name: us-b, host: 127.0.0.1, port: 7111 }',
      `{ name: us-b, host: h, port: 1, site: ${site} }`,
    );
  const read = readCatalogue(node('us-2'), 'regions.yaml');
  if (!('catalogue' in read)) throw new Error(read.complaints.map(formatComplaint).join('\n'));
  const [us, eu] = [read.catalogue.regions.get('us'), read.catalogue.regions.get('eu')];
  if (us === undefined || eu === undefined) throw new Error('both are there');
  expect([sitesOf(us), sitesOf(eu)]).toEqual([['us', 'us-2'], ['eu']]);
  expect(['us-a', 'us-b', 'eu-a'].map((name) => siteOf(us, name))).toEqual([
    'us',
    'us-2',
    undefined,
  ]);
  expect(complaints(node('eu'))).toEqual([
    'regions.yaml:9:47  regions.us.nodes[1].site: "eu" is a site of eu; the same place cannot be in two regions',
  ]);
  const both = node('west').replace('port: 5432 }]', 'port: 5432, site: west }]');
  expect(complaints(both)).toEqual([
    'regions.yaml:14:66  regions.eu.nodes[0].site: "west" is a site of us; the same place cannot be in two regions',
  ]);
  expect(complaints(node('Dublin'))).toEqual([
    'regions.yaml:9:47  regions.us.nodes[1].site: "Dublin" is not a site: a lower-case letter, then up to 15 letters, digits or hyphens',
  ]);
});

describe('how the servers of a region are spoken to', () => {
  const { ca } = makeAuthority();
  const eu = (tls: string) => SAMPLE.replace(EU_SHORT, `${EU_SHORT}    tls: ${tls}\n`);
  const inline = JSON.stringify(ca);

  test.each([
    ['{ mode: disable }', { mode: 'disable' }],
    ['{ mode: require }', { mode: 'require' }],
    ['{ mode: verify-full }', { mode: 'verify-full' }],
    [`{ mode: verify-ca, ca: ${inline} }`, { mode: 'verify-ca', ca }],
    ['{ mode: verify-full, caFile: eu.pem }', { mode: 'verify-full', caFile: 'eu.pem' }],
  ])('%s is said of the region, and known of each of its servers', (written, tls) => {
    const read = readCatalogue(eu(written), 'regions.yaml');
    if (!('catalogue' in read)) throw new Error(read.complaints.map(formatComplaint).join('\n'));
    const { regions } = read.catalogue;
    expect(regions.get('eu')).toMatchObject({ tls, nodes: [{ tls }], airlocks: [{ tls }] });
    expect(JSON.stringify(regions.get('us'))).not.toContain('tls');
  });

  const at = 'regions.eu.tls';
  test.each([
    ['{}', `${at}.mode: missing`],
    [
      '{ mode: prefer }',
      `${at}.mode: "prefer" is not one of disable, require, verify-ca, verify-full`,
    ],
    ['{ mode: verify-ca }', `${at}.caFile: missing: the authority`],
    ['{ mode: require, caFile: eu.pem }', `${at}.caFile: is not read with mode: require`],
    [`{ mode: disable, ca: ${inline} }`, `${at}.ca: is not read with mode: disable`],
    [`{ mode: verify-ca, ca: ${inline}, caFile: eu.pem }`, `${at}.caFile: keep this key or ca`],
    ['{ mode: verify-full, ca: eu.pem }', `${at}.ca: has no certificate in PEM form in it`],
    [
      `{ mode: verify-full, ca: ${JSON.stringify(ca + ca.replace(/MII.{8}/, 'MIIBAAAAAAA'))} }`,
      `${at}.ca: has a certificate that cannot be read: number 2 of 2`,
    ],
    [
      `{ mode: verify-full, ca: ${JSON.stringify(`${ca}-----BEGIN PRIVATE KEY-----`)} }`,
      `${at}.ca: has a private key in it`,
    ],
    ['{ mode: verify-full, sslrootcert: eu.pem }', `${at}.sslrootcert: no such key`],
  ])('%s is refused in words', (written, words) => {
    expect(complaints(eu(written)).join('\n')).toContain(words);
  });
});

test('a region may say where its backups are kept, and no other region keeps any there', () => {
  const US = '    title: Virginia\n';
  const withPlaces = (us: string, eu: string) =>
    SAMPLE.replace(EU_SHORT, `${EU_SHORT}    backup: { folder: "${eu}" }\n`).replace(
      US,
      `${US}    backup: { folder: "${us}" }\n`,
    );
  const read = readCatalogue(withPlaces('/srv/us/', '/srv/us-2/../eu'), 'f');
  if (!('catalogue' in read)) throw new Error(JSON.stringify(read));
  expect(read.catalogue.regions.get('eu')?.backup).toEqual({ folder: '/srv/eu' });
  expect(read.catalogue.regions.get('us')?.backup).toEqual({ folder: '/srv/us/' });
  const at = 'regions.eu.backup.folder: ';
  for (const [us, eu, complaint] of [
    ['/srv/b', '/srv/./b/', 'the backups of us are kept there already'],
    ['/srv/b', '/srv/b/eu', 'lies in the place of the backups of us'],
    ['/srv/b/us', '/srv/b', 'the backups of us lie in it'],
    ['/srv/b', 'backups', '"backups" is not an absolute path'],
  ] as const) {
    const [said, ...more] = complaints(withPlaces(us, eu));
    expect(said).toContain(at + complaint);
    expect(said).toMatch(/^regions\.yaml:\d+:\d+ /);
    expect(more).toEqual([]);
  }
});

test('a region may say where its keeper answers, at an address of its own', () => {
  const text = (url: string) =>
    SAMPLE.replace(EU_SHORT, `${EU_SHORT}    keeper: { url: "${url}" }\n`);
  const reading = readCatalogue(text('HTTP://Eu.Example:7129/'), 'regions.yaml');
  if (!('catalogue' in reading)) throw new Error('complaints');
  const { regions } = reading.catalogue;
  expect(regions.get('eu')?.keeper).toEqual({ url: 'http://eu.example:7129' });
  expect(regions.get('us')?.keeper).toBeUndefined();
  expect(complaints(text('http://127.0.0.1:7101')).join()).toContain(
    'regions.eu.keeper.url: "127.0.0.1:7101" is taken by edge-us',
  );
  expect(complaints(text('eu.example')).join()).toContain('is not http:// or https://');
});

describe('a region whose primary others move', () => {
  const text = (keeper: string) =>
    SAMPLE.replace(EU_SHORT, `${EU_SHORT}    keeper: { ${keeper} }\n`);
  const keeperIn = (keeper: string) => {
    const reading = readCatalogue(text(keeper), 'regions.yaml');
    if (!('catalogue' in reading))
      throw new Error(reading.complaints.map(formatComplaint).join('\n'));
    return reading.catalogue.regions.get('eu')?.keeper;
  };

  test('says where its Patronis answer, or which name the managed service moves', () => {
    const members = '[http://10.0.0.1:8008/, HTTPS://PG2.example]';
    expect(keeperIn(`kind: patroni, members: ${members}`)).toEqual({
      kind: 'patroni',
      members: ['http://10.0.0.1:8008', 'https://pg2.example'],
    });
    // The name may be that of a node.
    const endpoint = '{ host: db.eu.example, port: 5432 }';
    expect(keeperIn(`kind: managed, endpoint: ${endpoint}`)).toEqual({
      kind: 'managed',
      endpoint: { host: 'db.eu.example', port: 5432 },
    });
  });

  test.each([
    [
      'kind: patroni',
      ['16:5  regions.eu.keeper.members: missing: the REST interfaces of the Patroni members'],
    ],
    [
      'kind: managed',
      ['16:5  regions.eu.keeper.endpoint: missing: the name that leads to the primary'],
    ],
    [
      'kind: pacemaker',
      ['16:21  regions.eu.keeper.kind: "pacemaker" is not one of patroni, managed'],
    ],
    [
      'members: [http://a:8008]',
      [
        '16:5  regions.eu.keeper.url: missing: where the keeper answers',
        '16:15  regions.eu.keeper.members: needs kind: patroni',
      ],
    ],
    [
      'kind: patroni, members: [http://a:8008], url: http://b:1',
      ['16:56  regions.eu.keeper.url: belongs to a keeper without kind'],
    ],
    [
      'kind: patroni, members: [a:8008]',
      [
        '16:40  regions.eu.keeper.members[0]: "a:8008" is not http:// or https:// with a host and no path',
      ],
    ],
    [
      'kind: patroni, members: [http://a:8008/cluster]',
      [
        '16:40  regions.eu.keeper.members[0]: "http://a:8008/cluster" is not http:// or https:// with a host and no path',
      ],
    ],
    [
      'kind: patroni, members: [http://u:p@a:8008]',
      [
        '16:40  regions.eu.keeper.members[0]: is not an origin: leave user name and password out of it',
      ],
    ],
    [
      'kind: patroni, members: [http://a:8008, http://A:8008]',
      ['16:55  regions.eu.keeper.members[1]: "a:8008" is taken by a Patroni of eu'],
    ],
    [
      'kind: patroni, members: []',
      ['16:39  regions.eu.keeper.members: is empty: name at least one'],
    ],
    [
      'kind: managed, endpoint: { host: "h:5432", port: 0 }',
      [
        '16:48  regions.eu.keeper.endpoint.host: "h:5432" is not a host name or an address',
        '16:64  regions.eu.keeper.endpoint.port: the number 0 is less than 1',
      ],
    ],
    [
      'kind: managed, endpoint: { host: h, port: 5432 }, member: [a]',
      ['16:65  regions.eu.keeper.member: no such key; did you mean "members"?'],
    ],
  ])('%s is refused', (keeper, expected) => {
    const found = complaints(text(keeper)).map((one) => one.replace(/^regions.yaml:/, ''));
    expect(found).toEqual(expected);
  });
});

test("the storefront's catalogue has three regions, and asia is nearer to us than to eu", () => {
  const file = new URL('../examples/storefront/regions.yaml', import.meta.url);
  const reading = readCatalogue(readFileSync(file, 'utf8'), 'regions.yaml');
  if (!('catalogue' in reading))
    throw new Error(reading.complaints.map(formatComplaint).join('\n'));
  const { catalogue } = reading;
  expect([...catalogue.regions.keys()]).toEqual(['us', 'eu', 'asia']);
  expect(peersNearestFirst(catalogue, 'asia').map(({ id }) => id)).toEqual(['us', 'eu']);
});

test.each([
  [
    'titel for title',
    'title: Frankfurt',
    'titel: Frankfurt',
    [
      'regions.yaml:11:3  regions.eu.title: missing: words for a person, such as Frankfurt, Germany',
      'regions.yaml:12:5  regions.eu.titel: no such key; did you mean "title"?',
    ],
  ],
  [
    'another version',
    'version: 1',
    'version: 2',
    ['regions.yaml:1:10  version: the number 2 is not 1'],
  ],
  [
    'a region id in capitals',
    '  eu:\n',
    '  EU:\n',
    [
      'regions.yaml:11:3  regions.EU: the key is not a region id: a lower-case letter, then up to 15 letters, digits or hyphens',
    ],
  ],
  [
    'a name taken by an edge',
    'name: eu-a',
    'name: edge-us',
    ['regions.yaml:14:21  regions.eu.nodes[0].name: "edge-us" is taken by an edge of us'],
  ],
  [
    'a name taken by a node',
    'name: eu-x',
    'name: us-b',
    ['regions.yaml:15:22  regions.eu.airlock.name: "us-b" is taken by a node of us'],
  ],
  [
    'an address of two nodes',
    'port: 7111',
    'port: 7110',
    ['regions.yaml:9:46  regions.us.nodes[1].port: "127.0.0.1:7110" is taken by us-a'],
  ],
  [
    'an address of an edge and a node',
    'port: 7112',
    'port: 7101',
    ['regions.yaml:10:51  regions.us.airlock.port: "127.0.0.1:7101" is taken by edge-us'],
  ],
  [
    'a port that does not exist',
    'port: 7111',
    'port: 65536',
    ['regions.yaml:9:46  regions.us.nodes[1].port: the number 65536 is more than 65535'],
  ],
  [
    'a host with a port',
    'host: db.eu.example',
    'host: "db.eu.example:5432"',
    [
      'regions.yaml:14:33  regions.eu.nodes[0].host: "db.eu.example:5432" is not a host name or an address',
    ],
  ],
  [
    'a path in a URL',
    ':7101 }',
    ':7101/shop }',
    [
      'regions.yaml:6:35  regions.us.edges[0].url: "http://127.0.0.1:7101/shop" is not http:// or https:// with a host and no path',
    ],
  ],
  [
    'another scheme',
    'http://127',
    'ftp://127',
    [
      'regions.yaml:6:35  regions.us.edges[0].url: "ftp://127.0.0.1:7101" is not http:// or https:// with a host and no path',
    ],
  ],
  [
    'a password in a URL',
    'http://127',
    'http://u:p@127',
    [
      'regions.yaml:6:35  regions.us.edges[0].url: is not an origin: leave user name and password out of it',
    ],
  ],
  [
    'a distance to nowhere',
    '[us, eu]',
    '[us, ue]',
    [
      'regions.yaml:16:1  distances: the distance between us and eu is missing',
      'regions.yaml:17:21  distances[0].between[1]: no region "ue"; did you mean "us"?',
    ],
  ],
  [
    'a distance to itself',
    '[us, eu]',
    '[us, us]',
    [
      'regions.yaml:16:1  distances: the distance between us and eu is missing',
      'regions.yaml:17:16  distances[0].between: a region has no distance to itself',
    ],
  ],
  [
    'a distance twice',
    '85.5 }\n',
    '85.5 }\n  - { between: [eu, us], roundTripMs: 3 }\n',
    ['regions.yaml:18:16  distances[1].between: the distance between eu and us is given twice'],
  ],
  [
    'a distance below zero',
    '85.5',
    '-1',
    ['regions.yaml:17:39  distances[0].roundTripMs: the number -1 is less than 0'],
  ],
  [
    'no nodes',
    '[{ name: eu-a, host: db.eu.example, port: 5432 }]',
    '[]',
    ['regions.yaml:14:12  regions.eu.nodes: is empty: name at least one'],
  ],
  [
    'a database name that needs quotes',
    'database: storefront',
    'database: Store',
    [
      'regions.yaml:5:15  regions.us.database: "Store" is not a database name: lower-case letters, digits and underscores',
    ],
  ],
])('%s', (_, from, to, expected) => {
  expect(complaints(edited(from, to))).toEqual(expected);
});

test('a region without the others has no distances to give', () => {
  const alone = SAMPLE.slice(0, SAMPLE.indexOf('  eu:'));
  expect(complaints(alone)).toEqual([]);
  expect(complaints('version: 1\nregions: {}\n')).toEqual([
    'regions.yaml:2:10  regions: is empty: name at least one',
  ]);
});

test('32 regions are compared with each other and 33 are refused', () => {
  const region = (id: number) => `
  r${id}:
    title: R
    edges: [{ name: edge-${id}, url: "http://h${id}" }]
    nodes: [{ name: node-${id}, host: h${id}, port: 1 }]
    airlock: { name: airlock-${id}, host: h${id}, port: 2 }`;
  const file = (count: number) =>
    `version: 1\nregions:${Array.from({ length: count }, (_, id) => region(id)).join('')}`;
  const pairs = (REGIONS_MAX * (REGIONS_MAX - 1)) / 2;
  expect(complaints(file(REGIONS_MAX)).at(-1)).toContain(
    `${pairs - COMPLAINTS_MAX} more complaints from here on`,
  );
  expect(complaints(file(REGIONS_MAX + 1))).toHaveLength(1);
});

test('the checked-in JSON Schema is the one that the reader would write', () => {
  const file = new URL('regions.schema.json', import.meta.url);
  expect(JSON.parse(readFileSync(file, 'utf8'))).toEqual(jsonSchemaOf(CatalogueFile));
});

test('no damage to a catalogue makes the reader throw', async () => {
  const damage = fc.record({
    at: fc.nat(SAMPLE.length),
    cut: fc.nat(30),
    paste: fc.oneof(
      fc.string(),
      fc.constantFrom('[]', '{}', '\n', 'null', '*a', '&a ', 'us', ': ', '__proto__: 1', '\t'),
    ),
  });
  await fc.assert(
    fc.property(fc.array(damage, { minLength: 1, maxLength: 4 }), (all) => {
      let text = SAMPLE;
      for (const { at, cut, paste } of all) text = text.slice(0, at) + paste + text.slice(at + cut);
      const reading = readCatalogue(text, 'f');
      expect('catalogue' in reading || reading.complaints.length > 0).toBe(true);
    }),
    { numRuns: 500 },
  );
}, 60_000);
