/**
 * What does a proxy without toxics add to a loopback round trip?
 *
 *     client --> echo                       direct
 *     client --> built-in --> echo          a child process
 *     client --> real     --> echo          a child process, if one is installed
 *
 * One message of 64 bytes at a time. The three take turns within each round, so that a machine that
 * changes its pace changes it for all; each round gives one p50 per path, and what is printed is the
 * median over the rounds, with the extremes beside it. The echo server is a thread of its own.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { performance } from 'node:perf_hooks';
import { Worker } from 'node:worker_threads';
import { Faults, type FoundToxiproxy, findToxiproxy } from '../regions/toxiproxy.ts';
import { inWords, ratios, type Spread, spread } from './ratio.ts';

const HOST = '127.0.0.1';
const MESSAGE = Buffer.alloc(64, 'x');
const ECHOES = 2_000;
const READY_WITHIN_MS = 10_000;
/** What the built-in may add before it would show in an experiment that counts milliseconds. */
const ADDED_US_MAX = 100;

type Path = { name: string; socket: Socket; p50us: number[]; p99us: number[] };

export type ToxiproxyFigures = Readonly<
  Record<string, { p50Us: Spread; addedP50Us?: Spread; ratio?: Spread }>
>;

/** Plain JavaScript, so that the thread needs no file of its own. */
const ECHO = `
  const { createServer } = require('node:net');
  const { parentPort } = require('node:worker_threads');
  const server = createServer({ noDelay: true }, (socket) => socket.pipe(socket));
  server.listen({ host: '127.0.0.1', port: 0 }, () => parentPort.postMessage(server.address().port));`;

export async function measureToxiproxy({
  rounds,
  environment,
  report,
}: {
  rounds: number;
  /** Where an installed server is looked for. */
  environment: Readonly<Record<string, string | undefined>>;
  report: (line: string) => void;
}): Promise<ToxiproxyFigures> {
  const worker = new Worker(ECHO, { eval: true });
  const [echoPort] = (await once(worker, 'message')) as [number];
  const children: ChildProcess[] = [];
  const paths: Path[] = [await open('direct', echoPort)];
  try {
    for (const env of [{ PATH: '' }, environment]) {
      const found = findToxiproxy({ ...env, TOXIPROXY_URL: undefined });
      if (paths.some(({ name }) => name === found.kind)) continue;
      const { child, url } = await start(found);
      children.push(child);
      const upstream = `${HOST}:${echoPort}`;
      const proxy = { name: 'bench', listen: `${HOST}:0`, upstream };
      const { listen } = await new Faults(url).createProxy(proxy);
      paths.push(await open(found.kind, Number(listen.split(':')[1])));
    }
    for (const path of paths) await round(path);
    for (const path of paths) path.p50us.length = path.p99us.length = 0;
    for (let count = 0; count < rounds; count += 1) {
      for (const path of paths) await round(path);
    }
    for (const line of table(paths, rounds)) report(line);
    return figures(paths);
  } finally {
    for (const { socket } of paths) socket.destroy();
    for (const child of children) child.kill('SIGTERM');
    await worker.terminate();
  }
}

async function start(found: FoundToxiproxy): Promise<{ child: ChildProcess; url: string }> {
  if (found.kind === 'running') throw new TypeError('the bench starts its own servers');
  const port = await freePort();
  const child = spawn(found.command, found.args({ host: HOST, port }), { stdio: 'ignore' });
  const url = `http://${HOST}:${port}`;
  await new Faults(url).untilReady({ withinMs: READY_WITHIN_MS });
  return { child, url };
}

async function freePort(): Promise<number> {
  const server = createServer().listen({ host: HOST, port: 0 });
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

async function open(name: string, port: number): Promise<Path> {
  const socket = connect({ host: HOST, port, noDelay: true });
  await once(socket, 'connect');
  return { name, socket, p50us: [], p99us: [] };
}

async function round({ socket, p50us, p99us }: Path): Promise<void> {
  const tookUs = new Float64Array(ECHOES);
  await new Promise<void>((done) => {
    let count = 0;
    let sentMs = 0;
    let bytes = 0;
    const send = () => {
      bytes = 0;
      sentMs = performance.now();
      socket.write(MESSAGE);
    };
    const receive = (data: Buffer) => {
      bytes += data.length;
      if (bytes < MESSAGE.length) return;
      tookUs[count] = (performance.now() - sentMs) * 1_000;
      count += 1;
      if (count < ECHOES) send();
      else {
        socket.off('data', receive);
        done();
      }
    };
    socket.on('data', receive);
    send();
  });
  tookUs.sort();
  p50us.push(tookUs[Math.floor(ECHOES * 0.5)] ?? Number.NaN);
  p99us.push(tookUs[Math.floor(ECHOES * 0.99)] ?? Number.NaN);
}

function figures([direct, ...proxied]: readonly Path[]): ToxiproxyFigures {
  const base = direct?.p50us ?? [];
  return Object.fromEntries([
    ['direct', { p50Us: spread(base) }],
    ...proxied.map(({ name, p50us }) => {
      const addedP50Us = spread(p50us.map((us, index) => us - (base[index] ?? Number.NaN)));
      return [name, { p50Us: spread(p50us), addedP50Us, ratio: ratios(p50us, base) }];
    }),
  ]);
}

function table(paths: readonly Path[], rounds: number): string[] {
  const measured = figures(paths);
  return [
    `${rounds} interleaved rounds of ${ECHOES} echoes, ${MESSAGE.length} bytes each`,
    ...paths.flatMap(({ name, p50us, p99us }) => {
      const { addedP50Us, ratio } = measured[name] ?? {};
      const line = `${name.padEnd(10)} p50 ${inUs(p50us)}   p99 ${inUs(p99us)}`;
      if (addedP50Us === undefined || ratio === undefined) return [line];
      const verdict = addedP50Us.median < ADDED_US_MAX ? 'within' : 'BEYOND';
      const bound = name === 'built-in' ? `, ${verdict} the ${ADDED_US_MAX} us it may add` : '';
      const added = `added at p50 ${inWords(rounded(addedP50Us), ' us')}${bound}`;
      return [line, `           ${added}`, `           ratio to direct ${inWords(ratio)}`];
    }),
  ];
}

function inUs(values: readonly number[]): string {
  return inWords(spread(values.map(Math.round)), ' us');
}

function rounded({ min, median, max }: Spread): Spread {
  return { min: Math.round(min), median: Math.round(median), max: Math.round(max) };
}
