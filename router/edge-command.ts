/**
 * `domicile edge`: runs one edge until it is told to stop.
 *
 * Everything that a start can complain about is said at once: files, settings and the app module.
 */
import { createSecretKey, randomBytes, randomUUID } from 'node:crypto';
import { dirname, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { Hono } from 'hono';
import { formatComplaint } from '../regions/yaml-complaint.ts';
import { readConfig } from './config.ts';
import type { SecretPlace } from './console/operators-file.ts';
import type { FirstOperators } from './console/operators-in-force.ts';
import { startConsole } from './console/start-console.ts';
import type { Domicile } from './domicile.ts';
import { Edge } from './edge.ts';
import { edgeFetch, listen } from './edge-server.ts';
import { besideApp, readFiles, readText, shown } from './read-files.ts';
import { type RunningTelemetry, startTelemetry } from './telemetry/start-telemetry.ts';
import { uuid8 } from './uuid8.ts';

export type EdgeCommand = {
  region: string;
  app: string;
  policy?: string;
  regions?: string;
  /** Which of the region's edges this is; its first one by default. */
  name?: string;
  /** `host:port`; the address of the edge in the catalogue by default. */
  listen?: string;
  /** Who may use the console; nobody, and there is none, by default. */
  operators?: string;
};

/** What an entry file hands down: nothing below it reads clocks, randomness or the environment. */
export type Outside = {
  environment: Readonly<Record<string, string | undefined>>;
  now: () => number;
  wallClock: () => number;
  /** Of the program. */
  version: string;
  log: (line: Record<string, unknown>) => void;
};

export type RunningEdge = { address: string; stop: () => Promise<void> };
export type EdgeStart = RunningEdge | { complaints: readonly string[] };

export async function startEdge(command: EdgeCommand, outside: Outside): Promise<EdgeStart> {
  const files = await readFiles(besideApp(command.app, command));
  const settings = readConfig(outside.environment);
  const app = await loadApp(command.app);
  const operators = await operatorsOf(command.operators);
  const complaints = [files, settings, app, operators].flatMap((read) =>
    'complaints' in read ? [...read.complaints] : [],
  );
  const address = 'catalogue' in files ? addressOf(command, files.catalogue) : undefined;
  if (address !== undefined && 'complaint' in address) complaints.push(address.complaint);
  if (
    complaints.length > 0 ||
    'complaints' in files ||
    'complaints' in settings ||
    'complaints' in app ||
    'complaints' in operators ||
    address === undefined ||
    'complaint' in address
  ) {
    return { complaints };
  }
  const { config } = settings;
  const hopKey = createSecretKey(config.hopKey);
  const name =
    command.name ?? files.catalogue.regions.get(command.region)?.edges[0]?.name ?? 'edge';
  const edge = new Edge({
    here: command.region,
    name,
    catalogue: files.catalogue,
    policy: files.policy,
    policyText: files.policyText,
    databasePassword: config.databasePassword,
    sessionKeys: config.sessionKeys,
    hopKey,
    directoryKey: config.directoryKey,
    subjectKey: config.subjectKey,
    limits: config.limits,
    cookieSecure: config.cookieSecure,
    now: outside.now,
    log: outside.log,
    drawId: () => uuid8(outside.wallClock(), randomBytes(10)),
    drawClaim: randomUUID,
    drawTraceParent: () =>
      `00-${randomBytes(16).toString('hex')}-${randomBytes(8).toString('hex')}-00`,
  });
  await edge.start();
  let telemetry: RunningTelemetry;
  try {
    telemetry = await startTelemetry({
      edge,
      name,
      version: outside.version,
      settings: config.telemetry,
      directoryKey: config.directoryKey,
      wallClock: outside.wallClock,
      log: outside.log,
    });
  } catch (error) {
    await edge.stop();
    const { code } = error as NodeJS.ErrnoException;
    if (code === undefined || config.telemetry.metricsListen === undefined) throw error;
    const { host, port } = config.telemetry.metricsListen;
    return {
      complaints: [`DOMICILE_METRICS_LISTEN  ${host}:${port} cannot be listened on (${code})`],
    };
  }
  edge.telemetry = telemetry.telemetry;
  const console = await startConsole({
    edge,
    operators: operators.operators,
    secretOf: (place) => secretOf(place, command.operators ?? '', outside),
    version: outside.version,
    drawSecret: () => randomBytes(32).toString('base64url'),
    wallClock: outside.wallClock,
    log: outside.log,
  });
  const { openHealth } = config;
  const fetch = edgeFetch({ edge, app: app.app, hopKey, log: outside.log, console, openHealth });
  try {
    const server = await listen(fetch, address.host, address.port, config.limits.budgetMs);
    const stop = async () => {
      const closed = new Promise<void>((done) => server.close(() => done()));
      console.stop();
      server.closeIdleConnections();
      await closed;
      await telemetry.stop();
      await edge.stop();
    };
    return { address: `http://${address.host}:${address.port}`, stop };
  } catch (error) {
    await telemetry.stop();
    await edge.stop();
    const { code } = error as NodeJS.ErrnoException;
    if (code === undefined) throw error;
    return { complaints: [`${address.host}:${address.port}  cannot be listened on (${code})`] };
  }
}

type Address = { host: string; port: number } | { complaint: string };

function addressOf(
  { region, name, listen }: EdgeCommand,
  catalogue: { regions: ReadonlyMap<string, { edges: readonly { name: string; url: string }[] }> },
): Address {
  const known = catalogue.regions.get(region);
  if (known === undefined) {
    const regions = [...catalogue.regions.keys()].join(', ');
    return { complaint: `--region  no region "${region}"; there are ${regions}` };
  }
  const edge = name === undefined ? known.edges[0] : known.edges.find((one) => one.name === name);
  const url = listen === undefined ? edge?.url : `http://${listen}`;
  if (url === undefined || !URL.canParse(url)) {
    return {
      complaint:
        listen === undefined
          ? `--name  no edge "${name}" in region "${region}"`
          : `--listen  "${listen}" is not host:port`,
    };
  }
  const { hostname, port, protocol } = new URL(url);
  return { host: hostname, port: port === '' ? (protocol === 'https:' ? 443 : 80) : Number(port) };
}

/** The reader of the file is loaded where there is one. */
async function operatorsOf(
  path: string | undefined,
): Promise<{ operators: FirstOperators | undefined } | { complaints: readonly string[] }> {
  if (path === undefined) return { operators: undefined };
  const file = await readText(path);
  if ('complaint' in file) return { complaints: [file.complaint] };
  const { readOperators } = await import('./console/operators-file.ts');
  const { text } = file;
  const read = readOperators(text, shown(path));
  if ('complaints' in read) return { complaints: read.complaints.map(formatComplaint) };
  const { operators } = read;
  return { operators: { text, operators, file: shown(path), read: () => readText(path) } };
}

/** Read when it is needed, so that a new one needs no new start. */
async function secretOf(
  place: SecretPlace,
  operatorsFile: string,
  { environment }: Outside,
): Promise<string | undefined> {
  if (place.kind === 'variable') return environment[place.name];
  const read = await readText(resolve(dirname(operatorsFile), place.path));
  // Editors end a file with a line break.
  return 'text' in read && read.text.trim() !== '' ? read.text.trim() : undefined;
}

async function loadApp(
  path: string,
): Promise<{ app: Hono<Domicile> } | { complaints: readonly string[] }> {
  let module: { default?: unknown };
  try {
    module = await import(pathToFileURL(resolve(path)).href);
  } catch (error) {
    return { complaints: [`${path}  ${error instanceof Error ? error.message : String(error)}`] };
  }
  if (module.default instanceof Hono) return { app: module.default };
  return { complaints: [`${path}  must have a Hono app as its default export`] };
}
