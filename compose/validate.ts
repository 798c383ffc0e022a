/**
 * Would what stands here work, where no Docker engine is at hand to try it?
 *
 * Everything that can be tried without one is: files against their schema and real programs, the
 * image's steps in a plain folder, its entrypoint with its command, environment and user, a real
 * Prometheus that asks the edges, and every query of every dashboard put to it. What cannot be tried
 * is said. Status 0 only when all that was tried holds.
 */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parse } from 'yaml';
import type { Catalogue } from '../regions/catalogue.ts';
import { fromBasePort, portsNeeded } from '../regions/local/catalogue-ports.ts';
import { freePorts, freePortsInARow } from '../regions/local/ports.ts';
import { readCatalogue } from '../regions/read-catalogue.ts';
import { buildImage, type Image, readDockerfile, sentToBuilder } from './build-image.ts';
import { DASHBOARDS } from './dashboards.ts';
import { type ComposeFile, judgeCompose } from './judge-compose.ts';

const HERE = dirname(fileURLToPath(import.meta.url));
const CHECKOUT = dirname(HERE);
/** Nine servers are made and filled, on a machine that may be busy. */
const WORLD_READY_MS_MAX = 480_000;
/** What `restart: unless-stopped` does without end. */
const RESTARTS_MAX = 2;
const WORLD_STOP_MS_MAX = 120_000;
const PANELS_MS_MAX = 180_000;
const AUDIT_MS_MAX = 300_000;
const ANSWER_MS_MAX = 10_000;
/** Components of the collector's core distribution that its configuration may name. */
const COLLECTOR = {
  receivers: ['otlp'],
  processors: ['batch', 'memory_limiter'],
  exporters: ['debug', 'nop', 'otlp', 'otlphttp'],
};

class Broken extends Error {}

let skipped = 0;
const endings: (() => Promise<void> | void)[] = [];
const say = (line: string) => process.stdout.write(`${line}\n`);
const holds = (what: string) => say(`ok       ${what}`);
function skip(what: string, why: string): void {
  skipped += 1;
  say(`SKIPPED  ${what}: ${why}`);
}
const read = (path: string) => readFileSync(join(HERE, path), 'utf8');
const yaml = (path: string) => parse(read(path), { merge: true });
const has = (program: string) =>
  (process.env.PATH ?? '').split(delimiter).some((folder) => existsSync(join(folder, program)));

function compose(): ComposeFile {
  const judged = judgeCompose(
    yaml('compose.yaml'),
    JSON.parse(read('compose-spec.schema.json')),
    (path) => existsSync(join(HERE, path)),
  );
  if ('complaints' in judged) throw new Broken(judged.complaints.join('\n'));
  holds('compose.yaml keeps to the Compose Specification');
  if (!has('compose-spec-loader')) {
    skip('the loader that docker compose uses', 'no program compose-spec-loader here');
  } else {
    tool('compose-spec-loader', ['compose.yaml'], HERE);
    holds('the loader that docker compose uses takes compose.yaml');
  }
  return judged.file;
}

function prometheusFiles(): boolean {
  if (!has('promtool') || !has('prometheus')) {
    skip('prometheus.yml, its alerts and every panel', 'no prometheus and promtool here');
    return false;
  }
  const folder = join(HERE, 'prometheus');
  tool('promtool', ['check', 'config', 'prometheus.yml'], folder);
  tool('promtool', ['check', 'rules', 'rules.yml'], folder);
  tool('promtool', ['test', 'rules', 'rules-test.yml'], folder);
  holds('promtool takes prometheus.yml and rules.yml, and every alert fires when it should');
  return true;
}

function collector(): void {
  type Pipelines = Record<string, Record<string, string[]>>;
  const file = yaml('collector.yaml') as Record<string, Record<string, unknown>>;
  const pipelines = file.service?.pipelines as Pipelines;
  for (const [kind, known] of Object.entries(COLLECTOR)) {
    for (const name of Object.keys(file[kind] ?? {})) {
      if (!known.includes(name.split('/')[0] ?? ''))
        throw new Broken(`collector.yaml  ${kind} ${name}`);
    }
    for (const [pipeline, { [kind]: used = [] }] of Object.entries(pipelines)) {
      for (const name of used) {
        if (file[kind]?.[name] === undefined)
          throw new Broken(`collector.yaml  ${pipeline}: ${name}`);
      }
    }
  }
  holds('collector.yaml names components that there are, and uses what it defines');
  skip('the real collector', 'no registry here has its program');
}

function image(scratch: string): Image {
  const { instructions, complaints } = readDockerfile(read('Dockerfile'));
  if (complaints.length > 0) throw new Broken(complaints.join('\n'));
  const listed = ['ls-files', '-co', '--exclude-standard'];
  const files = execFileSync('git', listed, { cwd: CHECKOUT, encoding: 'utf8' })
    .split('\n')
    .filter((path) => path !== '' && existsSync(join(CHECKOUT, path)));
  const context = join(scratch, 'context');
  for (const path of sentToBuilder(files, read('Dockerfile.dockerignore'))) {
    mkdirSync(dirname(join(context, path)), { recursive: true });
    cpSync(join(CHECKOUT, path), join(context, path));
  }
  const built = buildImage(instructions, context, scratch, say);
  holds(`the Dockerfile’s ${instructions.length} steps work in a plain folder`);
  skip('base images and their digests', 'no registry of images here');
  return built;
}

type Running = {
  edges: readonly { region: string; url: string }[];
  /** How often the collector was sent some. */
  traces: () => number;
  stop(): Promise<void>;
};

/** The entrypoint as the image and compose.yaml have it; only ports and folders are others. */
async function world(built: Image, file: ComposeFile, scratch: string): Promise<Running> {
  const { folder, workdir, env, entrypoint, command } = built;
  const { catalogue } = catalogueIn(join(folder, workdir, 'compose/regions.yaml'));
  const base = await freePortsInARow(portsNeeded(catalogue));
  const moved = fromBasePort(catalogue, base);
  const collected = await stubCollector();
  const [proxyPort = 0] = await freePorts(1);
  const proxy = toxiproxy(proxyPort, moved, scratch);
  const service = file.services.world;
  const settings = {
    ...env,
    ...service?.environment,
    TOXIPROXY_URL: `http://127.0.0.1:${proxyPort}`,
    OTEL_EXPORTER_OTLP_ENDPOINT: collected.url,
    PATH: `${join(folder, 'usr/local/bin')}:/usr/local/bin:/usr/bin:/bin`,
  };
  const words = [...entrypoint, ...(service?.command ?? command)].map((word) =>
    word === '/world' ? join(folder, word) : word,
  );
  const asked = [...words, '--base-port', String(base)];
  const log = join(scratch, 'world.log');
  const asUser = process.geteuid?.() === 0 ? built.user : undefined;
  if (asUser === undefined) skip('the image’s user', 'only root can become another one');
  const begin = () =>
    start(asked, { cwd: join(folder, workdir), env: settings, log, user: asUser });
  let child = begin();
  const stop = async () => {
    child.kill('SIGTERM');
    const status = await child.ended(WORLD_STOP_MS_MAX);
    await proxy.stop();
    await collected.stop();
    if (status !== 0) throw new Broken(`the entrypoint ended with ${status}\n${tail(log)}`);
  };
  endings.push(async () => {
    child.kill('SIGTERM');
    await child.ended(WORLD_STOP_MS_MAX);
  });
  let restarts = 0;
  await until(
    WORLD_READY_MS_MAX,
    () => `the world is not ready\n${tail(log)}`,
    () => {
      if (child.hasEnded()) {
        // As the engine would: a busy machine may be too slow for a first connection.
        if (restarts === RESTARTS_MAX) throw new Broken(`the entrypoint ended\n${tail(log)}`);
        restarts += 1;
        say(`         the entrypoint ended and is started again\n${tail(log)}`);
        child = begin();
      }
      return readFileSync(log, 'utf8').includes('Ctrl-C ends everything');
    },
  );
  const edges = [...moved.regions.values()].map(({ id, edges: [edge] }) => ({
    region: id,
    url: edge?.url ?? '',
  }));
  holds(
    `${words.join(' ').replaceAll(folder, '')} serves, as ${asUser?.uid ?? 'whoever runs this'}`,
  );
  const ports = edges.map(({ url }) => new URL(url).port);
  const node = join(folder, 'usr/local/bin/node');
  tool(node, ['compose/healthy.ts', ...ports], join(folder, workdir));
  const [nobody = 0] = await freePorts(1);
  if (
    spawnSync(node, ['compose/healthy.ts', String(nobody)], { cwd: join(folder, workdir) })
      .status === 0
  ) {
    throw new Broken('the health check finds an edge well that is not there');
  }
  holds('the health check says whether the edges are well');
  if (asUser !== undefined) chmodSync(join(folder, 'world'), 0o755);
  return { edges, traces: collected.count, stop };
}

function toxiproxy(port: number, moved: Catalogue, scratch: string) {
  type Proxy = { name: string; listen: string; upstream: string };
  const edges = [...moved.regions.values()].flatMap(({ edges }) => edges);
  const proxies = (JSON.parse(read('toxiproxy.json')) as Proxy[]).map((proxy, i) => ({
    ...proxy,
    listen: '127.0.0.1:0',
    upstream: new URL(edges[i]?.url ?? '').host,
  }));
  const config = join(scratch, 'toxiproxy.json');
  writeFileSync(config, JSON.stringify(proxies));
  const real = has('toxiproxy-server');
  if (!real) skip('the original Toxiproxy', 'no toxiproxy-server here; the built-in one stands in');
  const program = real
    ? ['toxiproxy-server']
    : [process.execPath, join(CHECKOUT, 'chaos/toxiproxy/main.ts')];
  const words = [...program, '-host=127.0.0.1', `-port=${port}`, `-config=${config}`];
  const child = start(words, {
    cwd: scratch,
    env: { PATH: process.env.PATH ?? '' },
    log: join(scratch, 'toxiproxy.log'),
  });
  endings.push(() => child.kill('SIGTERM'));
  return {
    stop: async () => {
      child.kill('SIGTERM');
      await child.ended(ANSWER_MS_MAX);
    },
  };
}

/** A receiver of OTLP that counts what comes; the real one is not to be had here. */
async function stubCollector() {
  let count = 0;
  const server = createServer((request, response) => {
    if (request.url === '/v1/traces') count += 1;
    request.resume().on('end', () => response.end());
  });
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  const { port } = server.address() as AddressInfo;
  const stop = () =>
    new Promise<void>((closed) => {
      server.close(() => closed());
      server.closeAllConnections();
    });
  endings.push(stop);
  return { url: `http://127.0.0.1:${port}`, count: () => count, stop };
}

/** Everything that a dashboard shows, at every edge: newcomers, orders, all levels, refusals. */
async function traffic({ edges }: Running, ending: AbortSignal): Promise<void> {
  const json = { 'content-type': 'application/json' };
  const countries = ['US', 'DE', 'JP'];
  for (let i = 0; !ending.aborted; i += 1) {
    const [here, there] = [edges[i % edges.length], edges[(i + 1) % edges.length]];
    const id = `u${i}`;
    const country = countries[i % countries.length];
    const user = { id, displayName: id, email: `${id}@example.org`, country };
    const order = { items: [{ product: 'lamp-brass', quantity: 1 }] };
    const ask = (url: string, body?: object, more = {}) =>
      fetch(url, {
        ...(body !== undefined && { method: 'POST', body: JSON.stringify(body) }),
        headers: { ...json, ...more },
        signal: AbortSignal.timeout(ANSWER_MS_MAX),
      })
        .then((answer) => answer.arrayBuffer())
        .catch(() => undefined);
    await ask(`${here?.url}/users`, user);
    await ask(`${there?.url}/users/${id}/orders`, order);
    for (const level of ['session', 'strong', 'eventual']) {
      await ask(`${here?.url}/users/${id}/orders`, undefined, { 'domicile-consistency': level });
    }
    await ask(`${there?.url}/products`);
    await ask(`${here?.url}/users`, { ...user, id: `v${i}`, country: 'SE', home: 'us' });
    await ask(`${there?.url}/users/nobody-${i}/orders`);
    await pause(100);
  }
}

/** A look of the auditor, because what it found is on a dashboard. Clients go on meanwhile. */
async function audit({ folder, workdir, user }: Image, scratch: string): Promise<void> {
  const node = join(folder, 'usr/local/bin/node');
  const log = join(scratch, 'audit.log');
  const child = start(
    [node, 'router/main.ts', 'audit', '--without', 'wires', '--root', join(folder, 'world')],
    {
      cwd: join(folder, workdir),
      env: { PATH: '/usr/bin:/bin' },
      log,
      user: process.geteuid?.() === 0 ? user : undefined,
    },
  );
  endings.push(() => child.kill('SIGTERM'));
  const status = await child.ended(AUDIT_MS_MAX);
  if (status === 1) throw new Broken(`the audit has findings\n${tail(log)}`);
  if (status === 0) holds('the audit of the running world is clean');
  else skip('a verdict of the audit', `it ended with ${status}\n${tail(log)}`);
}

async function panels(built: Image, file: ComposeFile, scratch: string): Promise<void> {
  const [port = 0] = await freePorts(1);
  const folder = join(scratch, 'prometheus');
  const data = join(folder, 'data');
  cpSync(join(HERE, 'prometheus'), folder, { recursive: true });
  mkdirSync(data);
  const config = join(folder, 'prometheus.yml');
  const text = readFileSync(config, 'utf8');
  writeFileSync(config, text.replaceAll('/world/', `${join(built.folder, 'world')}/`));
  const service = file.services.prometheus;
  const [uid = 0, gid = 0] = (service?.user ?? '').split(':').map(Number);
  const user = process.geteuid?.() === 0 ? { uid, gid } : undefined;
  if (user !== undefined) chownSync(data, uid, gid);
  const words = (service?.command ?? []).map((word) =>
    word.replace('/etc/prometheus/prometheus.yml', config).replace('=/prometheus', `=${data}`),
  );
  const log = join(scratch, 'prometheus.log');
  const child = start(['prometheus', ...words, `--web.listen-address=127.0.0.1:${port}`], {
    cwd: folder,
    env: { PATH: process.env.PATH ?? '' },
    log,
    user,
  });
  endings.push(() => child.kill('SIGTERM'));
  const wanted = new Map(
    DASHBOARDS.flatMap(({ title, panels }) =>
      panels.flatMap((panel) =>
        panel.queries.map(({ expr }) => [`${title}: ${panel.title}: ${expr}`, expr] as const),
      ),
    ),
  );
  const queries = wanted.size;
  const missing = () => [...wanted.keys()].join('\n');
  await until(
    PANELS_MS_MAX,
    () => `panels without data:\n${missing()}\n${tail(log)}`,
    async () => {
      for (const [name, expr] of wanted) {
        const url = `http://127.0.0.1:${port}/api/v1/query?query=${encodeURIComponent(expr)}`;
        const answer = await fetch(url, { signal: AbortSignal.timeout(ANSWER_MS_MAX) }).catch(
          () => undefined,
        );
        // It says 503 in plain words while it opens what it has stored.
        if (answer === undefined || answer.status === 503) return false;
        const { status, error, data } = (await answer.json()) as Answer;
        if (status !== 'success') throw new Broken(`${name}: ${error}`);
        if (data?.result.some(({ value: [, text] }) => text !== 'NaN')) wanted.delete(name);
      }
      return wanted.size === 0;
    },
  );
  holds(`Prometheus ${version()} has data for all ${queries} queries of the dashboards`);
  child.kill('SIGTERM');
  await child.ended(ANSWER_MS_MAX);
}

type Answer = {
  status: string;
  error?: string;
  data?: { result: { value: [number, string] }[] };
};

function version(): string {
  const { stdout, stderr } = spawnSync('prometheus', ['--version'], { encoding: 'utf8' });
  return /version ([\d.]+)/.exec(stdout + stderr)?.[1] ?? 'of unknown version';
}

type StartOptions = {
  cwd: string;
  env: Readonly<Record<string, string>>;
  log: string;
  user?: { uid: number; gid: number } | undefined;
};

function start([program = '', ...args]: readonly string[], { cwd, env, log, user }: StartOptions) {
  const out = openSync(log, 'a');
  const child = spawn(program, args, { cwd, env, stdio: ['ignore', out, out], ...user });
  const ended = new Promise<number | string>((done) => {
    child.on('error', (error) => done(error.message));
    child.on('exit', (code, signal) => done(code ?? signal ?? 'unknown'));
  });
  const hasEnded = () =>
    child.exitCode !== null || child.signalCode !== null || child.pid === undefined;
  return {
    hasEnded,
    kill: (signal: NodeJS.Signals) => {
      if (!hasEnded()) child.kill(signal);
    },
    ended: async (withinMs: number) => {
      const late = pause(withinMs, undefined, { ref: false }).then(() => {
        if (!hasEnded()) child.kill('SIGKILL');
        return `${program} did not end in time`;
      });
      return await Promise.race([ended, late]);
    },
  };
}

function tool(program: string, args: readonly string[], cwd: string): void {
  const { status, stdout, stderr, error } = spawnSync(program, args, { cwd, encoding: 'utf8' });
  if (status !== 0)
    throw new Broken(`${program} ${args.join(' ')}: ${error ?? `${stdout}${stderr}`}`);
}

function tail(log: string): string {
  return readFileSync(log, 'utf8').trimEnd().split('\n').slice(-15).join('\n');
}

async function until(
  limitMs: number,
  complaint: string | (() => string),
  done: () => boolean | Promise<boolean>,
): Promise<void> {
  const endMs = performance.now() + limitMs;
  while (!(await done())) {
    if (performance.now() > endMs)
      throw new Broken(typeof complaint === 'string' ? complaint : complaint());
    await pause(500);
  }
}

function catalogueIn(path: string): { catalogue: Catalogue } {
  const reading = readCatalogue(readFileSync(path, 'utf8'), path);
  if (!('catalogue' in reading)) throw new Broken(`${path} has complaints`);
  return reading;
}

async function validate(scratch: string): Promise<void> {
  const file = compose();
  const measured = prometheusFiles();
  collector();
  skip('Grafana, Jaeger and the network of containers', 'no Docker engine here');
  const built = image(scratch);
  const running = await world(built, file, scratch);
  const asking = new AbortController();
  const asked = traffic(running, asking.signal);
  try {
    await until(
      ANSWER_MS_MAX * 6,
      'no traces arrive at the collector’s address',
      () => running.traces() > 0,
    );
    holds('traces arrive at the collector’s address');
    await audit(built, scratch);
    if (measured) await panels(built, file, scratch);
  } finally {
    asking.abort();
    await asked;
  }
  await running.stop();
  holds('asked to end, the entrypoint ends everything that it started');
}

const scratch = mkdtempSync(join(tmpdir(), 'domicile-compose-'));
chmodSync(scratch, 0o755);
const interrupted = new Promise<never>((_, reject) => {
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => reject(new Broken(`ended by ${signal}`)));
  }
});
try {
  await Promise.race([validate(scratch), interrupted]);
  say(`\nEverything that was tried holds; ${skipped} things were skipped.`);
} catch (error) {
  if (!(error instanceof Broken)) throw error;
  say(`BROKEN   ${error.message.replaceAll('\n', '\n         ')}`);
  process.exitCode = 1;
} finally {
  for (const end of endings.reverse()) await end();
  rmSync(scratch, { recursive: true, force: true });
}
// Whatever an interruption left waiting would go on to start what has just been ended.
process.exit();
