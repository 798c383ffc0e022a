import { expect, test } from 'vitest';
import { DatabaseError } from '../regions/postgres.ts';
import { UnmetTrust, warnOfPlainText } from './unmet-trust.ts';

test('why TLS fails is said once, until the node was seen or something else is wrong', () => {
  const lines: Record<string, unknown>[] = [];
  const trust = new UnmetTrust((line) => lines.push(line));
  const fail = (node: string, why?: string) =>
    trust.failed(
      node,
      new DatabaseError({ kind: 'connect-failed', code: 'X', ...(why !== undefined && { why }) }),
    );
  fail('eu-a', 'expired');
  fail('eu-a', 'expired');
  fail('eu-b', 'expired');
  fail('eu-a');
  trust.failed('eu-a', new Error('expired'));
  fail('eu-a', 'expired');
  expect(lines.splice(0)).toEqual(
    ['eu-a', 'eu-b'].map((node) => ({
      ...{ level: 'error', event: 'node-not-trusted', node, why: 'expired' },
    })),
  );
  fail('eu-a', 'another name');
  trust.seen('eu-a');
  fail('eu-a', 'another name');
  expect(lines.map(({ why }) => why)).toEqual(['another name', 'another name']);
});

test('plain text is warned of where it leaves this machine and nobody said that it may', () => {
  const warned: unknown[] = [];
  const warn = (host: string, tls?: { mode: 'disable' | 'require' }) =>
    warnOfPlainText('eu', [{ name: host, host, port: 1, ...(tls && { tls }) }], ({ nodes }) =>
      warned.push(nodes),
    );
  for (const host of ['127.0.0.1', '127.8.9.10', '::1', 'localhost']) warn(host);
  warn('10.0.0.1', { mode: 'disable' });
  warn('db.eu.example', { mode: 'require' });
  expect(warned).toEqual([]);
  for (const host of ['10.0.0.1', '128.0.0.1', '::2', 'localhost.example']) warn(host);
  expect(warned).toEqual([['10.0.0.1'], ['128.0.0.1'], ['::2'], ['localhost.example']]);
});
