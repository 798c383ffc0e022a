/**
 * What do these tests run against? A throwaway PostgreSQL, and a TCP proxy that can cut the wire.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, chownSync, mkdtempSync, rmSync } from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { findBinaries } from './local/platform-binaries.ts';
import { serverUser } from './local/process-user.ts';
import type { Endpoint } from './postgres.ts';

/** PostgreSQL refuses to run as root. */
const NOBODY = 65534;
const USER = process.getuid?.() === 0 ? { uid: NOBODY, gid: NOBODY } : {};

export type TestServer = { endpoint: Endpoint; dataDir: string; stop(): Promise<void> };

export async function startPostgres(settings: Record<string, string> = {}): Promise<TestServer> {
  const programs = await findBinaries(serverUser(process.geteuid?.()), () => {});
  const dir = mkdtempSync(path.join(os.tmpdir(), 'domicile-postgres-'));
  const remove = () => rmSync(dir, { recursive: true, force: true });
  try {
    chmodSync(dir, 0o755);
    const dataDir = path.join(dir, 'data');
    if (process.getuid?.() === 0) chownSync(dir, NOBODY, NOBODY);
    const initdb = ['-D', dataDir, '-U', 'postgres', '--no-sync', '--auth=trust', '-E', 'UTF8'];
    const made = spawn(programs.initdb, initdb, { ...USER, cwd: dir, stdio: 'ignore' });
    const [code] = await once(made, 'exit');
    if (code !== 0) throw new Error(`initdb exited with ${code}`);
    const port = await freePort();
    const all = {
      fsync: 'off',
      listen_addresses: '127.0.0.1',
      unix_socket_directories: '',
      port: String(port),
      ...settings,
    };
    const server = spawn(
      programs.postgres,
      ['-D', dataDir, ...Object.entries(all).flatMap(([key, value]) => ['-c', `${key}=${value}`])],
      {
        ...USER,
        cwd: dir,
        // As a subscriber over TLS it looks for a certificate of its own at home, and stops when it may
        // not look.
        env: { ...process.env, HOME: dir },
        stdio: ['ignore', 'ignore', 'pipe'],
      },
    );
    const exited = once(server, 'exit');
    // A run that is interrupted skips its hooks.
    const abandon = () => {
      server.kill('SIGKILL');
      remove();
    };
    process.once('exit', abandon);
    const stop = async () => {
      process.off('exit', abandon);
      server.kill('SIGINT');
      const hard = setTimeout(() => server.kill('SIGKILL'), 5_000);
      await exited;
      clearTimeout(hard);
      remove();
    };
    await new Promise<void>((resolve, reject) => {
      server.stderr.on('data', (chunk: Buffer) => {
        if (chunk.includes('ready to accept connections')) resolve();
      });
      server.once('exit', (code) => reject(new Error(`postgres exited with ${code}`)));
    }).catch(async (error) => {
      await stop();
      throw error;
    });
    const endpoint = {
      name: 'test',
      host: '127.0.0.1',
      port,
      database: 'postgres',
      user: 'postgres',
      password: 'a-password',
    };
    return { endpoint, dataDir, stop };
  } catch (error) {
    remove();
    throw error;
  }
}

/** PostgreSQL cannot be told port 0. */
async function freePort(): Promise<number> {
  const probe = net.createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address() as net.AddressInfo;
  probe.close();
  await once(probe, 'close');
  return port;
}

export type Wire = {
  endpoint: Endpoint;
  /** Wires that are up, and all that ever were. */
  size(): number;
  opened(): number;
  /**
   * Called with what a client sends, before it goes on, and with the first thing that it sent, which
   * says who it is. False: it never arrives.
   */
  onSent: ((text: string, hello: string) => boolean) | undefined;
  /** Called with what the server answers. */
  onAnswered: ((text: string) => void) | undefined;
  /** A TCP reset towards the client, on every wire or on one picked by the caller. */
  reset(pick?: (count: number) => number): void;
  /** Both ends stay open and nothing arrives, until `heal`. New wires are taken and ignored, too. */
  blackHole(): void;
  heal(): void;
  close(): Promise<void>;
};

export async function startWire(to: Endpoint): Promise<Wire> {
  const pairs = new Set<readonly [net.Socket, net.Socket]>();
  let dark = false;
  let opened = 0;
  const server = net.createServer((client) => {
    const upstream = net.connect(to.port, to.host);
    const pair = [client, upstream] as const;
    pairs.add(pair);
    opened++;
    let hello: string | undefined;
    for (const [from, into] of [pair, [upstream, client] as const]) {
      from.setNoDelay(true);
      from.on('data', (chunk) => {
        if (from === client) {
          const text = chunk.toString('latin1');
          hello ??= text;
          if (wire.onSent?.(text, hello) === false) return;
        } else {
          wire.onAnswered?.(chunk.toString('latin1'));
        }
        into.write(chunk);
      });
      from.on('error', () => into.destroy());
      from.on('close', () => {
        into.destroy();
        pairs.delete(pair);
      });
      if (dark) from.pause();
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as net.AddressInfo;
  const wire: Wire = {
    endpoint: { ...to, port },
    size: () => pairs.size,
    opened: () => opened,
    onSent: undefined,
    onAnswered: undefined,
    reset(pick) {
      const all = [...pairs];
      const chosen = pick === undefined ? all : all.slice(pick(all.length)).slice(0, 1);
      for (const [client] of chosen) client.resetAndDestroy();
    },
    blackHole() {
      dark = true;
      for (const pair of pairs) for (const end of pair) end.pause();
    },
    heal() {
      dark = false;
      for (const pair of pairs) for (const end of pair) end.resume();
    },
    async close() {
      for (const [client] of pairs) client.destroy();
      server.close();
      await once(server, 'close');
    },
  };
  return wire;
}
