import { once } from 'node:events';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type RequestListener, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { Faults, FaultsError, type FaultsFailure, findToxiproxy } from './toxiproxy.ts';

const servers: Server[] = [];

afterEach(() => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
});

/** Something that listens where a Toxiproxy should. */
async function standIn(listener: RequestListener): Promise<string> {
  const server = createServer(listener).listen({ host: '127.0.0.1', port: 0 });
  servers.push(server);
  await once(server, 'listening');
  return `http://127.0.0.1:${(server.address() as { port: number }).port}`;
}

async function failureOf(call: Promise<unknown>): Promise<FaultsFailure> {
  const error = await call.catch((thrown: unknown) => thrown);
  if (error instanceof FaultsError) return error.failure;
  throw new Error(`no FaultsError but ${String(error)}`);
}

test('a server that accepts and never answers costs the deadline, not five minutes', async () => {
  const faults = new Faults(await standIn(() => {}), { timeoutMs: 50 });
  expect(await failureOf(faults.reset())).toEqual({ kind: 'timed_out', timeoutMs: 50 });
  expect(await failureOf(faults.version())).toEqual({ kind: 'timed_out', timeoutMs: 50 });
});

test('the deadline holds for the body as well', async () => {
  const url = await standIn((_request, response) => void response.write('{"version":'));
  expect((await failureOf(new Faults(url, { timeoutMs: 50 }).version())).kind).toBe('timed_out');
});

test('where nobody listens, the reason is the one of the network', async () => {
  const url = await standIn(() => {});
  for (const server of servers) await new Promise((done) => server.close(done));
  const failure = await failureOf(new Faults(url).proxies());
  expect(failure.kind).toBe('unreachable');
  expect(failure).toMatchObject({ because: expect.stringContaining('ECONNREFUSED') });
});

test('waiting for a server ends at its limit, and at once when something else is wrong', async () => {
  const url = await standIn((_request, response) => void response.end('hello'));
  const somethingElse = await failureOf(new Faults(url).untilReady({ withinMs: 60_000 }));
  expect(somethingElse).toEqual({ kind: 'not_understood', said: 'hello' });
  for (const server of servers) await new Promise((done) => server.close(done));
  const nobody = await failureOf(new Faults(url).untilReady({ withinMs: 50 }));
  expect(nobody.kind).toBe('unreachable');
});

test('an error that is not JSON is quoted, not parsed', async () => {
  const url = await standIn((_request, response) => {
    response.statusCode = 503;
    response.end('<html>The request took too long</html>');
  });
  expect(await failureOf(new Faults(url).reset())).toEqual({
    kind: 'refused',
    status: 503,
    said: '<html>The request took too long</html>',
  });
});

test('an answer without a proxy in it is not taken for one', async () => {
  for (const body of ['{}', 'null', '[]', '{"name":"x"}']) {
    const url = await standIn((_request, response) => void response.end(body));
    expect((await failureOf(new Faults(url).proxy('x'))).kind, body).toBe('not_understood');
  }
});

test('a URL that is set wins, then a named binary, then the PATH, then the built-in', () => {
  const folder = mkdtempSync(join(tmpdir(), 'path-'));
  try {
    const program = join(folder, 'toxiproxy-server');
    writeFileSync(program, '#!/bin/sh\n');
    const PATH = ['/nowhere', folder].join(delimiter);
    const at = { host: '127.0.0.1', port: 1234 };

    const notExecutable = findToxiproxy({ PATH });
    expect(notExecutable.kind).toBe('built-in');
    if (notExecutable.kind === 'built-in') {
      expect(notExecutable.command).toBe(process.execPath);
      const [main, ...rest] = notExecutable.args(at);
      expect(main).toMatch(/chaos.toxiproxy.main\.ts$/);
      expect(rest).toEqual(['--host', '127.0.0.1', '--port', '1234']);
    }

    chmodSync(program, 0o755);
    const installed = findToxiproxy({ PATH });
    expect(installed).toMatchObject({ kind: 'installed', command: program });
    if (installed.kind === 'installed') {
      expect(installed.args(at)).toEqual(['-host', '127.0.0.1', '-port', '1234']);
    }
    const TOXIPROXY_SERVER = '/opt/server';
    expect(findToxiproxy({ PATH, TOXIPROXY_SERVER })).toMatchObject({ command: '/opt/server' });
    const TOXIPROXY_URL = 'http://127.0.0.1:8474';
    expect(findToxiproxy({ PATH, TOXIPROXY_SERVER, TOXIPROXY_URL })).toEqual({
      kind: 'running',
      url: TOXIPROXY_URL,
    });
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('a folder of that name on the PATH is not a program', () => {
  const folder = mkdtempSync(join(tmpdir(), 'path-'));
  try {
    mkdirSync(join(folder, 'toxiproxy-server'));
    expect(findToxiproxy({ PATH: folder }).kind).toBe('built-in');
  } finally {
    rmSync(folder, { recursive: true });
  }
});
