/** Is nothing forgotten when a fault cannot be undone, or cannot be done to all that it means? */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer, request, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Faults } from '../../regions/toxiproxy.ts';
import { play } from '../play.ts';
import { startToxiproxy, type Toxiproxy } from '../toxiproxy/server.ts';
import { ChaosError, type ChaosWorld } from '../world.ts';
import { Breaking } from './breaking.ts';
import type { Fault } from './fault.ts';

const never = new AbortController().signal;
const LINKS = ['one', 'two'].map((name) => ({
  name,
  from: { region: 'us', kind: 'region' } as const,
  to: { region: 'eu', kind: 'edge', name } as const,
}));
const CUT: Fault = { kind: 'cut', links: { to: { region: 'eu' } } };
const SLOW: Fault = { kind: 'slow', links: { to: { region: 'eu' } }, latencyMs: 1 };

let toxiproxy: Toxiproxy;
/** In front of it, so that some calls can fail. */
let front: Server;
let refuses: (method: string, path: string, body: string) => boolean;
let processes: { name: string; child: ChildProcess | undefined }[];
let started: string[];
let world: ChaosWorld;

beforeEach(async () => {
  const of = { nowMs: () => performance.now(), random: Math.random };
  const starting = await startToxiproxy({ host: '127.0.0.1', port: 0, world: of });
  if (starting.kind === 'cannot_listen') throw new Error(starting.because);
  ({ toxiproxy } = starting);
  refuses = () => false;
  front = createServer((asked, answer) => {
    const parts: Buffer[] = [];
    asked.on('data', (part) => parts.push(part));
    asked.on('end', () => {
      const { method = '', url = '' } = asked;
      const body = Buffer.concat(parts);
      if (refuses(method, url, body.toString())) {
        answer.writeHead(500).end('{"error":"not now","status":500}');
        return;
      }
      const { host: _, ...headers } = asked.headers;
      const onward = request(toxiproxy.url + url, { method, headers }, (came) => {
        answer.writeHead(came.statusCode ?? 500, came.headers);
        came.pipe(answer);
      });
      onward.end(body);
    });
  });
  front.listen(0, '127.0.0.1');
  await once(front, 'listening');
  const faults = new Faults(`http://127.0.0.1:${(front.address() as AddressInfo).port}`);
  const upstream = new URL(toxiproxy.url).host;
  for (const { name } of LINKS) {
    await faults.createProxy({ name, listen: '127.0.0.1:0', upstream, enabled: true });
  }
  processes = [];
  started = [];
  const pidOf = (child: ChildProcess | undefined) =>
    child?.exitCode === null && child.signalCode === null ? child.pid : undefined;
  world = {
    faults,
    links: LINKS,
    catalogue: { regions: new Map() },
    primaries: async () => new Map(),
    processes: async () =>
      processes.map(({ name, child }) => ({
        name,
        region: 'eu',
        kind: 'edge',
        pid: pidOf(child),
      })),
    pidsOf: async (name: string) =>
      processes.flatMap((one) => (one.name === name ? (pidOf(one.child) ?? []) : [])),
    start: async (name: string) => {
      started.push(name);
    },
  } as unknown as ChaosWorld;
});

afterEach(async () => {
  for (const { child } of processes) child?.kill('SIGKILL');
  front.close();
  front.closeAllConnections();
  await toxiproxy.close();
});

async function states() {
  return [...(await world.faults.proxies()).values()].map(
    ({ enabled, toxics }) => enabled && toxics.length === 0,
  );
}

/** So many times, whatever is asked. */
function refuse(times: number, what: (method: string, path: string, body: string) => boolean) {
  let left = times;
  refuses = (...asked) => what(...asked) && left-- > 0;
}

const opens = (method: string, path: string, body: string) =>
  method === 'POST' && path.endsWith('/two') && body.includes('"enabled":true');
const removes = (method: string, path: string) => method === 'DELETE' && path.includes('/two/');

describe('a fault that does not let itself be undone', () => {
  test.each([
    ['cut', CUT, opens],
    ['slow', SLOW, removes],
  ])('is not forgotten: %s', async (_, fault, undoes) => {
    const breaking = new Breaking(world);
    const broken = await breaking.begin(fault);
    expect(await states()).toEqual([false, false]);
    refuse(1, undoes);
    await expect(broken.heal()).rejects.toThrow(/not now/);
    expect(await states()).toEqual([true, false]);
    await breaking.healAll();
    expect(await states()).toEqual([true, true]);
  });

  test('is tried again by who heals everything, and named when that does not help', async () => {
    const breaking = new Breaking(world);
    await breaking.begin(CUT);
    refuse(2, opens);
    await breaking.healAll();
    expect(await states()).toEqual([true, true]);
    await breaking.begin(CUT);
    refuses = opens;
    const failed = await breaking.healAll().catch((error: unknown) => error);
    expect(failed).toBeInstanceOf(ChaosError);
    expect(String(failed)).toMatch(/not undone: connections refused to eu \(one, two\): .*not now/);
    refuses = () => false;
    await breaking.healAll();
    expect(await states()).toEqual([true, true]);
  });

  test('a link that two have cut opens with the second one’s end, with a failure between', async () => {
    const breaking = new Breaking(world);
    const [one, other] = [await breaking.begin(CUT), await breaking.begin(CUT)];
    await one.heal();
    refuse(1, opens);
    await expect(other.heal()).rejects.toThrow();
    await other.heal();
    expect(await states()).toEqual([true, true]);
    await breaking.begin(CUT);
    expect(await states()).toEqual([false, false]);
    await breaking.healAll();
  });

  test('is said by a run, with the time at which it was over at last', async () => {
    refuse(1, opens);
    const beganAtMs = performance.now();
    const lines: string[] = [];
    const played = await play([{ atMs: 0, forMs: 50, fault: CUT }], {
      breaking: new Breaking(world),
      regions: ['eu'],
      now: () => performance.now() - beganAtMs,
      report: (line) => lines.push(line),
      signal: never,
    });
    expect(played.failures).toEqual([]);
    const [{ atMs, says } = { atMs: 0, says: '' }] = played.incidents;
    expect(says).toMatch(/^undone only after another try: connections refused to eu.*not now/);
    expect(played.spans[0]?.untilMs).toBe(atMs);
    expect(lines).toContainEqual(expect.stringMatching(/^not undone yet: /));
    expect(await states()).toEqual([true, true]);
  });
});

describe('a fault that can be done to one of two', () => {
  test.each([
    ['cut', CUT, (_: string, path: string, body: string) => path.endsWith('/two') && body !== ''],
    ['slow', SLOW, (_: string, path: string, body: string) => /two/.test(path) && body !== ''],
  ])('leaves nothing: %s', async (_, fault, does) => {
    const breaking = new Breaking(world);
    refuses = does;
    await expect(breaking.begin(fault)).rejects.toThrow(/not now/);
    refuses = () => false;
    expect(await states()).toEqual([true, true]);
  });

  test('leaves to the end what cannot be undone at once', async () => {
    const breaking = new Breaking(world);
    refuses = (method, path, body) =>
      (path.endsWith('/two') && body !== '') || (method === 'POST' && /true/.test(body));
    await expect(breaking.begin(CUT)).rejects.toThrow(/not now/);
    expect(await states()).toEqual([false, true]);
    refuses = () => false;
    await breaking.healAll();
    expect(await states()).toEqual([true, true]);
  });
});

describe('a kill', () => {
  const child = () => spawn('sleep', ['60'], { stdio: 'ignore' });

  test('of what is dead already is none, and nothing is started at its end', async () => {
    processes = [{ name: 'edge-eu', child: undefined }];
    const broken = await new Breaking(world).begin({ kind: 'kill', who: { name: 'edge-eu' } });
    expect(broken.evidence).toBeUndefined();
    await broken.heal();
    expect(started).toEqual([]);
  });

  test('of a region counts those that lived, and those are started again', async () => {
    processes = [
      { name: 'one', child: undefined },
      { name: 'two', child: child() },
    ];
    const broken = await new Breaking(world).begin({ kind: 'kill', who: { region: 'eu' } });
    expect(broken.evidence).toBe('its 1 processes are gone');
    await broken.heal();
    expect(started).toEqual(['two']);
  });
});
