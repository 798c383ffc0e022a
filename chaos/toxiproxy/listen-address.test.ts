import { expect, test } from 'vitest';
import {
  bindError,
  formatAddress,
  formatBound,
  resolveListen,
  sameAddress,
  splitHostPort,
} from './listen-address.ts';

test('host and port come apart at the last colon, IPv6 only in brackets', () => {
  expect(splitHostPort('localhost:80')).toEqual({ host: 'localhost', port: '80' });
  expect(splitHostPort(':80')).toEqual({ host: '', port: '80' });
  expect(splitHostPort('[::1]:80')).toEqual({ host: '::1', port: '80' });
  for (const wrong of ['localhost', '::1', '::1:80', '[::1]', '']) {
    expect(splitHostPort(wrong), wrong).toBeUndefined();
  }
});

test('no host, 0.0.0.0 and :: all mean everywhere', async () => {
  for (const everywhere of ['', ':0', '0.0.0.0:0', '[::]:0']) {
    expect(await resolveListen(everywhere)).toEqual({ host: undefined, port: 0 });
  }
  expect(formatAddress({ host: undefined, port: 80 })).toBe('[::]:80');
  const ipv4Only = { address: '0.0.0.0', family: 'IPv4', port: 80 };
  expect(formatBound(ipv4Only)).toBe('[::]:80');
});

test('a name resolves, IPv4 first', async () => {
  expect(await resolveListen('localhost:80')).toEqual({ host: '127.0.0.1', port: 80 });
});

test('what cannot be listened on is refused in the words of Go', async () => {
  expect(await resolveListen('127.0.0.1')).toEqual({
    error: 'listen tcp: address 127.0.0.1: missing port in address',
  });
  expect(await resolveListen('127.0.0.1:http!')).toEqual({
    error: 'listen tcp: lookup tcp/http!: unknown port',
  });
  expect(await resolveListen('127.0.0.1:65535')).toEqual({ host: '127.0.0.1', port: 65_535 });
  expect(await resolveListen('127.0.0.1:65536')).toEqual({
    error: 'listen tcp: address 65536: invalid port',
  });
  const taken = Object.assign(new Error('listen'), { code: 'EADDRINUSE' });
  expect(bindError({ host: '127.0.0.1', port: 3310 }, taken)).toBe(
    'listen tcp 127.0.0.1:3310: bind: address already in use',
  );
});

test('port 0 is never the same place twice', () => {
  const at = (port: number) => ({ host: '127.0.0.1', port });
  expect(sameAddress(at(80), at(80))).toBe(true);
  expect(sameAddress(at(80), at(81))).toBe(false);
  expect(sameAddress(at(0), at(0))).toBe(false);
});
