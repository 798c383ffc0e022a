import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { expect, test } from 'vitest';
import {
  edgePorts,
  fromBasePort,
  portsNeeded,
  postgresPorts,
  withPorts,
} from './catalogue-ports.ts';
import { listeningInodes } from './port-holder.ts';
import {
  claimedTwice,
  freePorts,
  freePortsInARow,
  type PortUse,
  portsInUse,
  portsInUseText,
} from './ports.ts';
import { testCatalogue } from './world-for-tests.ts';

const wanted = (port: number, purpose = 'a test'): PortUse => ({
  host: '127.0.0.1',
  port,
  purpose,
  changeIn: 'this file',
});

test('ports in a row are all free', async () => {
  const base = await freePortsInARow(20);
  const row = Array.from({ length: 20 }, (_, i) => wanted(base + i));
  expect(await portsInUse(row)).toEqual([]);
});

test('a port somebody listens on is busy, and free again afterwards', async () => {
  const [port = 0] = await freePorts(1);
  const squatter = createServer().listen(port, '127.0.0.1');
  await once(squatter, 'listening');
  const [busy] = await portsInUse([wanted(port)]);
  expect(busy?.port).toBe(port);
  if (process.platform === 'linux') expect(busy?.holder?.pid).toBe(process.pid);
  squatter.close();
  await once(squatter, 'close');
  expect(await portsInUse([wanted(port)])).toEqual([]);
});

test('a port that was drawn is not drawn again, by whatever process, until its drawer ends', async () => {
  const draws = `
    import { freePorts } from ${JSON.stringify(new URL('./ports.ts', import.meta.url).href)};
    console.log((await freePorts(600)).join(' '));
    process.stdin.resume().on('end', () => process.exit());`;
  const other = spawn(process.execPath, ['--input-type=module-typescript', '--eval', draws], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  let said = '';
  for await (const text of other.stdout.setEncoding('utf8')) {
    said += text;
    if (said.endsWith('\n')) break;
  }
  const theirs = new Set(said.trim().split(' ').map(Number));
  expect(theirs.size).toBe(600);
  const ours = await freePorts(200);
  expect(ours.filter((port) => theirs.has(port))).toEqual([]);
  other.stdin.end();
  await once(other, 'exit');
});

test('free ports are different, and below those that outgoing connections take', async () => {
  const ports = await freePorts(20);
  expect(new Set(ports).size).toBe(20);
  expect(Math.min(...ports)).toBeGreaterThanOrEqual(10_000);
  expect(Math.max(...ports)).toBeLessThan(30_000);
});

test('a message without a known holder admits it', () => {
  expect(portsInUseText([{ ...wanted(5432, 'Postgres us-a'), holder: undefined }])).toBe(
    'These ports are in use:\n  127.0.0.1:5432  wanted for Postgres us-a; held by a process we cannot see; change it at this file',
  );
});

test('a long command line is cut at eighty characters', () => {
  const text = (length: number) =>
    portsInUseText([{ ...wanted(1), holder: { pid: 7, command: 'x'.repeat(length) } }]);
  expect(text(80)).toContain(`by 7, ${'x'.repeat(80)};`);
  expect(text(81)).toContain(`by 7, ${'x'.repeat(79)}…;`);
});

test('one port wanted for two purposes is noticed', () => {
  const [one, other, third] = [wanted(1, 'one'), wanted(2, 'two'), wanted(1, 'three')];
  expect(claimedTwice([one, other, third])).toEqual([[one, third]]);
  expect(claimedTwice([one, other])).toEqual([]);
});

test('only listening sockets of exactly this port count', () => {
  const table = [
    '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode',
    '   0: 0100007F:1538 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 111 1',
    '   1: 0100007F:1538 0100007F:D431 01 00000000:00000000 00:00000000 00000000  1000        0 222 1',
    '   2: 0100007F:1539 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 333 1',
  ].join('\n');
  expect(listeningInodes(table, 0x1538)).toEqual(['111']);
  expect(listeningInodes(table, 80)).toEqual([]);
});

test('a catalogue is moved to other ports in order, its edges included', () => {
  const blank = testCatalogue(['us', 'eu']);
  const us = blank.regions.get('us');
  if (us !== undefined) {
    const publicUrl = 'https://shop.example';
    const edges = [{ name: 'edge-us', url: 'http://127.0.0.1:8080', publicUrl }];
    const regions = new Map(blank.regions).set('us', { ...us, edges });
    const moved = fromBasePort({ ...blank, regions }, 7_000);
    expect(postgresPorts(moved).map(({ port }) => port)).toEqual([
      7000, 7001, 7002, 7004, 7005, 7006,
    ]);
    expect(moved.regions.get('us')?.edges).toEqual([
      { name: 'edge-us', url: 'http://127.0.0.1:7003' },
    ]);
    expect(edgePorts(moved).map(({ port, purpose }) => [port, purpose])).toEqual([
      [7003, 'edge edge-us'],
    ]);
  }
  expect(us?.airlocks[0]?.port, 'the original is untouched').toBe(3);
});

test('further airlocks take the ports after the first, before the edges', () => {
  const blank = testCatalogue(['us', 'eu', 'asia']);
  const us = blank.regions.get('us');
  const [airlock] = us?.airlocks ?? [];
  if (us === undefined || airlock === undefined) throw new Error('no airlock');
  const airlocks = [
    { ...airlock, peers: ['eu'] },
    { ...airlock, name: 'us-second', peers: ['asia'] },
  ];
  const edges = [{ name: 'edge-us', url: 'http://127.0.0.1:8080' }];
  const regions = new Map(blank.regions).set('us', { ...us, airlocks, edges });
  const moved = fromBasePort({ ...blank, regions }, 7_000);
  expect(postgresPorts(moved).slice(0, 4)).toMatchObject([
    { port: 7000, purpose: 'Postgres us-a' },
    { port: 7001, purpose: 'Postgres us-b' },
    { port: 7002, purpose: 'airlock us-airlock', changeIn: 'regions.us.airlocks of the catalogue' },
    { port: 7003, purpose: 'airlock us-second' },
  ]);
  expect(edgePorts(moved).map(({ port }) => port)).toEqual([7004]);
  expect(moved.regions.get('us')?.airlocks.map(({ peers }) => peers)).toEqual([['eu'], ['asia']]);
});

test('too few ports for a catalogue are refused', () => {
  const catalogue = testCatalogue(['us']);
  expect(portsNeeded(catalogue)).toBe(3);
  expect(() => withPorts(catalogue, [1, 2])).toThrow('3 ports are needed, 2 were given');
});
