import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Catalogue } from '../regions/catalogue.ts';
import { testRegion } from '../regions/local/world-for-tests.ts';
import { LINKS_FILE, recordWire, type WireRecorder } from './record-wire.ts';

let folder: string;
let far: Server;
let answer: (socket: Socket) => void;
let catalogue: Catalogue;
let recorder: WireRecorder | undefined;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'domicile-wire-'));
  far = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => {});
    answer(socket);
  });
  far.listen(0, '127.0.0.1');
  await once(far, 'listening');
  const { port } = far.address() as AddressInfo;
  const at = { host: '127.0.0.1', port };
  const region = (id: string, peers: string[]) => ({
    ...testRegion(id),
    edges: [{ name: `edge-${id}`, url: `http://127.0.0.1:${port}` }],
    airlocks: [{ name: `${id}-x`, ...at, peers }],
  });
  catalogue = {
    regions: new Map([
      ['us', region('us', ['eu'])],
      ['eu', region('eu', ['us'])],
    ]),
    distances: [],
  };
});
afterEach(async () => {
  await recorder?.stop();
  recorder = undefined;
  far.close();
  rmSync(folder, { recursive: true, force: true });
});

async function start(): Promise<WireRecorder> {
  recorder = await recordWire({ catalogue, folder, through: undefined });
  return recorder;
}

function dial(through: WireRecorder): Socket {
  const to = through.link('us', { name: 'eu-x', host: 'not used', port: 0 });
  if (to === undefined) throw new Error('no link');
  const socket = connect({ ...to, allowHalfOpen: true });
  socket.on('error', () => {});
  socket.resume();
  return socket;
}

/** Whatever was said before; `once` would give up at an error. */
const closeOf = (socket: Socket) => new Promise((done) => socket.on('close', done));
const recorded = (name: string) => readFileSync(join(folder, 'us-to-eu-x', name), 'latin1');

test('both directions are kept apart, and a byte is kept before it goes on', async () => {
  let atArrival = '';
  answer = (socket) =>
    socket.once('data', () => {
      atArrival = recorded('000001.sent');
      socket.write('answer');
    });
  const socket = dial(await start());
  socket.write('question');
  const [said] = await once(socket, 'data');
  expect(String(said)).toBe('answer');
  expect(atArrival).toBe('question');
  expect(recorded('000001.received')).toBe('answer');
  socket.destroy();
});

test('a side that has said everything still hears the answer', async () => {
  answer = (socket) => {
    let heard = '';
    socket.on('data', (part) => {
      heard += part;
    });
    socket.on('end', () => socket.end(`heard ${heard}`));
  };
  const socket = dial(await start());
  socket.end('everything');
  let said = '';
  socket.on('data', (part) => {
    said += part;
  });
  await once(socket, 'end');
  expect(said).toBe('heard everything');
});

test('much passes whole', async () => {
  const much = Buffer.alloc(20_000_000, 'abcdefg');
  answer = (socket) => socket.pipe(socket);
  const socket = dial(await start());
  socket.end(much);
  let bytes = 0;
  for await (const part of socket) bytes += (part as Buffer).length;
  expect(bytes).toBe(much.length);
  expect(statSync(join(folder, 'us-to-eu-x', '000001.sent')).size).toBe(much.length);
  expect(statSync(join(folder, 'us-to-eu-x', '000001.received')).size).toBe(much.length);
});

test('an end that goes away takes the other one with it', async () => {
  answer = (socket) => socket.resetAndDestroy();
  const gone = dial(await start());
  gone.write('anything');
  await closeOf(gone);
  far.close();
  await closeOf(dial(recorder as WireRecorder));
});

test('a second start goes on where the first one left', async () => {
  answer = (socket) => socket.end('x');
  for (const name of ['000001.sent', '000002.sent']) {
    const socket = dial(await start());
    socket.end(name);
    socket.resume();
    await once(socket, 'end');
    await recorder?.stop();
    expect(recorded(name)).toBe(name);
  }
});

test('every link between two regions has a relay of its own, and the list says which', async () => {
  const { seenFrom } = await start();
  const links = JSON.parse(readFileSync(join(folder, LINKS_FILE), 'utf8'));
  expect(links.map(({ from, name }: { from: string; name: string }) => `${from} ${name}`)).toEqual([
    'us eu-x',
    'us edge-eu',
    'eu us-x',
    'eu edge-us',
  ]);
  const own = catalogue.regions.get('us')?.edges[0]?.url;
  expect(seenFrom('us').regions.get('us')?.edges[0]?.url).toBe(own);
  const foreign = links.find(({ name }: { name: string }) => name === 'edge-eu').address;
  expect(seenFrom('us').regions.get('eu')?.edges[0]?.url).toBe(`http://127.0.0.1:${foreign.port}`);
  expect(statSync(folder).mode & 0o777).toBe(0o700);
});

test('what a link led through before, it leads through still', async () => {
  const other = createServer((socket) => socket.end()).listen(0, '127.0.0.1');
  await once(other, 'listening');
  const { port } = other.address() as AddressInfo;
  recorder = await recordWire({
    catalogue,
    folder,
    through: { link: () => ({ host: '127.0.0.1', port }), seenFrom: () => catalogue },
  });
  dial(recorder).end('anything');
  await once(other, 'connection');
  other.close();
});
