import { readFileSync } from 'node:fs';
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { readCatalogue } from './read-catalogue.ts';
import { InstallationFile, ROLE_ATTRIBUTES, readInstallation } from './read-installation.ts';
import { formatComplaint } from './yaml-complaint.ts';
import { jsonSchemaOf } from './yaml-json-schema.ts';

const SAMPLE = `version: 1
files: { app: ../app.ts, secrets: /etc/domicile/secrets.json }
superuser: admin
regions:
  eu: { superuser: eu_admin, roles: { private: { exporter: [login, superuser] } } }
roles:
  private: { domicile_standby: [login, replication] }
reach:
  us-a: { host: 127.0.0.1, port: 15001 }
links:
  - { from: eu, to: us-x, host: proxy.eu.example, port: 6432 }
subscriptions:
  passwordFile: /run/domicile/passwords
  parameters: { sslmode: verify-full, sslrootcert: /etc/domicile/ca.pem }
`;

const REGIONS = readCatalogue(
  `version: 1
regions:
  us:
    title: Virginia
    edges: [{ name: edge-us, url: http://127.0.0.1:1 }]
    nodes: [{ name: us-a, host: db.us.example, port: 5432 }]
    airlock: { name: us-x, host: x.us.example, port: 5432 }
  eu:
    title: Frankfurt
    edges: [{ name: edge-eu, url: http://127.0.0.1:2 }]
    nodes: [{ name: eu-a, host: db.eu.example, port: 5432 }]
    airlock: { name: eu-x, host: x.eu.example, port: 5432 }
distances: [{ between: [us, eu], roundTripMs: 85 }]
`,
  'regions.yaml',
);
if (!('catalogue' in REGIONS)) throw new Error('the sample of regions is wrong');
const { catalogue } = REGIONS;

function read(text: string) {
  const reading = readInstallation(text, 'installation.yaml', catalogue);
  if ('complaints' in reading) throw new Error(reading.complaints.map(formatComplaint).join('\n'));
  return reading.installation;
}

function complaints(from: string, to: string): string[] {
  if (!SAMPLE.includes(from)) throw new Error(`the sample has no ${from}`);
  const reading = readInstallation(SAMPLE.replace(from, to), 'installation.yaml', catalogue);
  return 'complaints' in reading ? reading.complaints.map(formatComplaint) : [];
}

test('what is written is what is read, and a region may differ', () => {
  const installation = read(SAMPLE);
  expect(installation.files).toEqual({ app: '../app.ts', secrets: '/etc/domicile/secrets.json' });
  expect([installation.superuser('us'), installation.superuser('eu')]).toEqual([
    'admin',
    'eu_admin',
  ]);
  expect(Object.fromEntries(installation.roles('us').private)).toEqual({
    admin: ROLE_ATTRIBUTES,
    domicile_standby: ['login', 'replication'],
  });
  expect(Object.fromEntries(installation.roles('eu').private)).toEqual({
    eu_admin: ROLE_ATTRIBUTES,
    domicile_standby: ['login', 'replication'],
    exporter: ['login', 'superuser'],
  });
  expect(Object.fromEntries(installation.roles('eu').airlock)).toEqual({
    eu_admin: ROLE_ATTRIBUTES,
  });
  expect(installation.reach.get('us-a')).toEqual({ host: '127.0.0.1', port: 15001 });
  expect(installation.subscriptions).toEqual({
    passwordFile: '/run/domicile/passwords',
    parameters: { sslmode: 'verify-full', sslrootcert: '/etc/domicile/ca.pem' },
  });
});

test('little is enough', () => {
  const installation = read('version: 1\nsubscriptions: { inlinePasswords: true }\n');
  expect(installation.files).toEqual({ app: 'app.ts', secrets: 'secrets.json' });
  expect(installation.superuser('us')).toBe('postgres');
  // A name that every object has is no region.
  expect(installation.superuser('constructor')).toBe('postgres');
  expect(installation.subscriptions).toEqual({ passwordFile: undefined, parameters: {} });
});

test('mistakes are named with their place, and with what was meant', () => {
  expect(complaints('superuser: admin', 'superusr: admin')).toEqual([
    'installation.yaml:3:1  superusr: no such key; did you mean "superuser"?',
  ]);
  expect(complaints('us-a: {', 'us-s: {')).toEqual([
    'installation.yaml:9:3  reach.us-s: the regions file has no server "us-s"; did you mean "us-a"?',
  ]);
  expect(complaints('eu: { superuser', 'uk: { superuser')).toEqual([
    'installation.yaml:5:3  regions.uk: the regions file has no region "uk"; did you mean "us"?',
  ]);
  expect(complaints('to: us-x', 'to: us-a')).toEqual([
    'installation.yaml:11:21  links[0].to: no server that eu reads is called "us-a"; did you mean "us-x"?',
  ]);
  expect(complaints('sslmode: verify-full', 'sslmode: verify_full')).toEqual([
    'installation.yaml:14:26  subscriptions.parameters.sslmode: "verify_full" is not one of disable, require, verify-ca, verify-full; did you mean "verify-full"?',
  ]);
  expect(complaints('/run/domicile/passwords', 'passwords')).toEqual([
    'installation.yaml:13:17  subscriptions.passwordFile: "passwords" is not an absolute path',
  ]);
  expect(complaints('[login, replication]', '[login, god]')[0]).toContain('"god" is not one of');
  expect(complaints('version: 1', 'version: 2')).toHaveLength(1);
});

test('where passwords of subscriptions are is said, one way or the other', () => {
  const line = '  passwordFile: /run/domicile/passwords\n';
  expect(complaints(line, '')).toEqual([
    'installation.yaml:12:1  subscriptions.passwordFile: missing: the libpq password file that lies on every server',
  ]);
  expect(complaints(line, '  inlinePasswords: true\n')).toEqual([]);
  expect(complaints(line, `${line}  inlinePasswords: true\n`)).toEqual([
    'installation.yaml:14:3  subscriptions.inlinePasswords: stands beside passwordFile: one of them',
  ]);
});

test('a password has no place in it', () => {
  expect(complaints('superuser: admin', 'superuser: admin\npassword: secret')).toEqual([
    'installation.yaml:4:1  password: no such key',
  ]);
});

test('the checked-in JSON Schema is the one that the reader would write', () => {
  const file = new URL('installation.schema.json', import.meta.url);
  expect(JSON.parse(readFileSync(file, 'utf8'))).toEqual(jsonSchemaOf(InstallationFile));
});

test('no damage to the file makes the reader throw', async () => {
  const damage = fc.record({
    at: fc.nat(SAMPLE.length),
    cut: fc.nat(30),
    paste: fc.oneof(fc.string(), fc.constantFrom('[]', '{}', '\n', 'null', '*a', '__proto__: 1')),
  });
  await fc.assert(
    fc.property(fc.array(damage, { minLength: 1, maxLength: 3 }), (all) => {
      let text = SAMPLE;
      for (const { at, cut, paste } of all) {
        text = text.slice(0, at) + paste + text.slice(at + cut);
      }
      readInstallation(text, 'installation.yaml', catalogue);
    }),
    { numRuns: 300 },
  );
});
