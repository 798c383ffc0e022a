/**
 * What does a proxy without toxics add to a loopback round trip?
 *
 *     npm exec -- node bench/toxiproxy.ts [--rounds 15] [--echoes 2000]
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
import { parseArgs } from 'node:util';
import { isMainThread, parentPort, Worker } from 'node:worker_threads';
import { Faults, type FoundToxiproxy, findToxiproxy } from '../regions/toxiproxy.ts';
import { inWords, ratios, spread } from './ratio.ts';

const HOST = '127.0.0.1';
const MESSAGE = Buffer.alloc(64, 'x');
const READY_WITHIN_MS = 10_000;
/** What the built-in may add before it would show in an experiment that counts milliseconds. */
const ADDED_US_MAX = 100;

type Path = { name: string; socket: Socket; p50us: number[]; p99us: number[] };

if (isMainThread) await measure();
else await echo();

async function echo(): Promise<void> {
  const server = createServer({ noDelay: true }, (socket) => socket.pipe(socket));
  server.listen({ host: HOST, port: 0 });
  await once(server, 'listening');
  parentPort?.postMessage((server.address() as AddressInfo).port);
}

async function measure(): Promise<void> {
  const { values } = parseArgs({
    options: {
      rounds: { type: 'string', default: '15' },
      echoes: { type: 'string', default: '2000' },
    },
  });
  const rounds = Number(values.rounds);
  const echoes = Number(values.echoes);

  const worker = new Worker(new URL(import.meta.url));
  const [echoPort] = (await once(worker, 'message')) as [number];
  const children: ChildProcess[] = [];
  const paths: Path[] = [await open('direct', echoPort)];
  try {
    for (const env of [{ PATH: '' }, process.env]) {
      const found = findToxiproxy({ ...env, TOXIPROXY_URL: undefined });
      if (paths.some(({ name }) => name === found.kind)) continue;
      const { child, url } = await start(found);
      children.push(child);
      const upstream = `${HOST}:${echoPort}`;
      const proxy = { name: 'bench', listen: `${HOST}:0`, upstream };
      const { listen } = await new Faults(url).createProxy(proxy);
      paths.push(await open(found.kind, Number(listen.split(':')[1])));
    }
    for (const path of paths) await round(path, echoes);
    for (const path of paths) path.p50us.length = path.p99us.length = 0;
    for (let count = 0; count < rounds; count += 1) {
      for (const path of paths) await round(path, echoes);
    }
    report(paths, rounds, echoes);
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

async function round({ socket, p50us, p99us }: Path, echoes: number): Promise<void> {
  const tookUs = new Float64Array(echoes);
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
      if (count < echoes) send();
      else {
        socket.off('data', receive);
        done();
      }
    };
    socket.on('data', receive);
    send();
  });
  tookUs.sort();
  p50us.push(tookUs[Math.floor(echoes * 0.5)] ?? Number.NaN);
  p99us.push(tookUs[Math.floor(echoes * 0.99)] ?? Number.NaN);
}

function report([direct, ...proxied]: readonly Path[], rounds: number, echoes: number): void {
  if (direct === undefined) return;
  console.log(`${rounds} interleaved rounds of ${echoes} echoes, ${MESSAGE.length} bytes each`);
  console.log(`direct     p50 ${inUs(direct.p50us)}   p99 ${inUs(direct.p99us)}`);
  for (const { name, p50us, p99us } of proxied) {
    const addedUs = p50us.map((us, index) => us - (direct.p50us[index] ?? Number.NaN));
    console.log(`${name.padEnd(10)} p50 ${inUs(p50us)}   p99 ${inUs(p99us)}`);
    const ratio = inWords(ratios(p50us, direct.p50us));
    console.log(`${' '.repeat(11)}added at p50 ${inUs(addedUs)}   ratio to direct ${ratio}`);
    if (name !== 'built-in') continue;
    const verdict = spread(addedUs).median < ADDED_US_MAX ? 'within' : 'BEYOND';
    console.log(`${' '.repeat(11)}${verdict} the ${ADDED_US_MAX} us it may add`);
  }
}

function inUs(values: readonly number[]): string {
  return inWords(spread(values.map(Math.round)), ' us');
}
