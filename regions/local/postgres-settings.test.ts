import { expect, test } from 'vitest';
import { slotName } from '../catalogue.ts';
import { scramVerifier } from './administer.ts';
import {
  hbaText,
  type ServerSettings,
  settingsText,
  synchronousNames,
  withoutUpstream,
} from './postgres-settings.ts';

const node = { name: 'us-b', host: '127.0.0.1', port: 5433 };
const given: ServerSettings = { kind: 'private', node, durable: true, follows: undefined };

test('a primary follows nobody and a replica names whom', () => {
  expect(settingsText(given)).not.toContain('primary_conninfo');
  const follows = { host: '127.0.0.1', port: 5432, passfile: "/tmp/it's/here" };
  const text = settingsText({ ...given, follows });
  expect(text).toContain("primary_slot_name = 'us_b'");
  expect(text).toContain("application_name=''us-b''");
  expect(text).toContain("dbname=''postgres''");
  // Once for the conninfo, once for the configuration file.
  expect(text).toContain("passfile=''/tmp/it\\''s/here''");
});

test('without durability neither flushes nor full pages are paid for', () => {
  expect(settingsText(given)).toContain('fsync = on\nfull_page_writes = on\n');
  expect(settingsText({ ...given, durable: false })).toContain(
    'fsync = off\nfull_page_writes = off\n',
  );
});

test('the log that a silent peer can hold back is finite on every kind of cluster', () => {
  for (const kind of ['private', 'airlock'] as const) {
    expect(settingsText({ ...given, kind })).toContain("max_slot_wal_keep_size = '1GB'");
  }
});

test('no file of an airlock mentions replication connections', () => {
  expect(hbaText('airlock')).not.toContain('replication');
  expect(hbaText('private')).toContain('host replication domicile_standby 127.0.0.1/32 scram');
});

test('one replica is required by name, and of several any one', () => {
  expect(synchronousNames([])).toBe('');
  expect(synchronousNames(['us-b'])).toBe('"us-b"');
  expect(synchronousNames(['us-b', 'us-c'])).toBe('ANY 1 ("us-b", "us-c")');
});

test('slot names have no hyphens', () => {
  expect(slotName('us-east-b')).toBe('us_east_b');
});

test('a boot forgets whom a node followed and keeps who must confirm', () => {
  const text =
    "# Do not edit\nsynchronous_standby_names = '\"us-b\"'\nprimary_conninfo = 'host=x'\nprimary_slot_name = 'us_a'\n";
  expect(withoutUpstream(text)).toBe('# Do not edit\nsynchronous_standby_names = \'"us-b"\'\n');
});

test('the verifier of a password is the one of RFC 7677', () => {
  const salt = Buffer.from('W22ZaJ0SNY7soEsUEjb6gQ==', 'base64');
  expect(scramVerifier('pencil', salt)).toBe(
    'SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=',
  );
});

test('where a restored node recovers to is told for that recovery alone', () => {
  const text = [
    `restore_command = 'cp "/b/%f" "%p"'`,
    `recovery_target_time = '2026-11-21T20:15:00Z'`,
    `recovery_target_timeline = '2'`,
    `primary_conninfo = 'host=a'`,
    `synchronous_standby_names = '"eu-b"'`,
  ];
  const left = (isRestored: boolean) => withoutUpstream(text.join('\n'), isRestored).split('\n');
  expect(left(true)).toEqual([...text.slice(0, 3), text[4]]);
  expect(left(false)).toEqual([text[4]]);
});
