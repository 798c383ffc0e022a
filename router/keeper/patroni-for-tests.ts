/**
 * How does a test get a real Patroni cluster, and leave nothing of it behind?
 *
 * One etcd and a Patroni with its PostgreSQL for each member, from the system's packages, on ports
 * and in a folder of their own. Each program leads a process group of its own; the servers that
 * Patroni starts leave that group, so they are found by the data directory that they work in.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { accessSync, closeSync, constants, openSync, readdirSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import type { NodeAddress } from '../../regions/catalogue.ts';
import { freePorts } from '../../regions/local/ports.ts';
import { postgresPidsOn } from '../../regions/local/process-identity.ts';
import { giveTo, serverUser, spawnAs } from '../../regions/local/process-user.ts';
import { waitUntil } from '../../regions/local/wait-until.ts';
import type { Endpoint } from '../../regions/postgres.ts';

export type PatroniPrograms = { patroni: string; etcd: string; postgresBin: string };
export type FoundPatroni =
  | { kind: 'found'; programs: PatroniPrograms }
  | { kind: 'missing'; why: string };

export type PatroniMember = NodeAddress & {
  /** Of its REST interface. */
  url: string;
  dataDirectory: string;
  logFile: string;
};

export type PatroniCluster = {
  members: readonly PatroniMember[];
  superuser(member: string, database?: string): Endpoint;
  /** Sends a signal to the member's Patroni and to every process of its PostgreSQL. */
  kill(member: string, signal: NodeJS.Signals): void;
  /** Only the Patroni, so that its PostgreSQL runs on with nobody to mind it. */
  killPatroni(member: string, signal: NodeJS.Signals): void;
  start(member: string): Promise<void>;
  /** What `GET /cluster` says at the first member that answers. */
  said(): Promise<PatroniSays | undefined>;
  remove(): Promise<void>;
};

export type PatroniSays = {
  members: readonly {
    name: string;
    role: string;
    state: string;
    timeline?: number;
    lag?: number | string;
  }[];
};

export type PatroniSettings = {
  /** In seconds; 20 is the least that Patroni's documentation allows. */
  ttl: number;
  loopWait: number;
  retryTimeout: number;
  synchronousMode: boolean;
  synchronousModeStrict: boolean;
  /** Of the REST interface; anybody may use it without. */
  auth?: { user: string; password: string };
};

/** What an operator has to count as installed: a policy apply disarms roles that nobody declared. */
export const REPLICATION_ROLE = 'standby';
export const SUPERUSER_PASSWORD = 'superuser-of-a-test';
const DEBIAN_HOME = '/usr/lib/postgresql';
/** What Patroni calls; PostgreSQL from npm has the first and the last only. */
const PROGRAMS_OF_POSTGRES = [
  'initdb',
  'pg_ctl',
  'pg_controldata',
  'pg_basebackup',
  'pg_rewind',
  'postgres',
];
/** A first start runs initdb; on a busy machine that takes seconds. */
const READY_MS_MAX = 60_000;
const ENDED_MS_MAX = 10_000;

/** From the PATH, and where Debian keeps PostgreSQL. */
export function findPatroni(path = process.env.PATH ?? ''): FoundPatroni {
  const on = (program: string) =>
    path
      .split(delimiter)
      .filter((folder) => folder !== '')
      .map((folder) => join(folder, program))
      .find(isExecutable);
  const patroni = on('patroni');
  const etcd = on('etcd');
  const postgresBin = binFolders(path).find((folder) =>
    PROGRAMS_OF_POSTGRES.every((program) => isExecutable(join(folder, program))),
  );
  const missing = Object.entries({ patroni, etcd, 'PostgreSQL with pg_rewind': postgresBin })
    .filter(([, found]) => found === undefined)
    .map(([name]) => name);
  if (patroni === undefined || etcd === undefined || postgresBin === undefined) {
    return {
      kind: 'missing',
      why: `no ${missing.join(', no ')} here: apt-get install patroni etcd-server postgresql-15`,
    };
  }
  return { kind: 'found', programs: { patroni, etcd, postgresBin } };
}

/** Debian's first, newest first: what stands on the PATH is often a link to one program of them. */
function binFolders(path: string): string[] {
  let versions: string[] = [];
  try {
    versions = readdirSync(DEBIAN_HOME).sort((a, b) => Number(b) - Number(a));
  } catch {
    // Not a Debian.
  }
  return [
    ...versions.map((version) => join(DEBIAN_HOME, version, 'bin')),
    ...path.split(delimiter).filter((folder) => folder !== ''),
  ];
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

export async function startPatroni(
  programs: PatroniPrograms,
  names: readonly string[],
  settings: PatroniSettings,
): Promise<PatroniCluster> {
  const user = serverUser(process.geteuid?.());
  const root = await mkdtemp(join(tmpdir(), 'domicile-patroni-'));
  // As root everything here runs as somebody else, who has to get in.
  await chmod(root, 0o711);
  const ports = await freePorts(2 + 2 * names.length);
  const port = () => ports.pop() ?? 0;
  const children = new Map<string, ChildProcess>();

  const launch = async (name: string, command: string, args: readonly string[]) => {
    const folder = join(root, name);
    await mkdir(folder, { recursive: true, mode: 0o755 });
    await giveTo(user, folder);
    const log = openSync(join(root, `${name}.log`), 'a', 0o644);
    const child = spawn(command, [...args], {
      ...spawnAs(user),
      cwd: folder,
      env: { PATH: '/usr/bin:/bin', HOME: folder, LC_ALL: 'C.UTF-8' },
      stdio: ['ignore', log, log],
      detached: true,
    });
    closeSync(log);
    child.on('error', () => {});
    children.set(name, child);
  };
  const signal = (name: string, what: NodeJS.Signals) => {
    const child = children.get(name);
    // Until its end is collected, neither the pid nor the group can belong to anybody else.
    if (child?.pid === undefined || hasEnded(child)) return;
    try {
      process.kill(-child.pid, what);
    } catch {
      // It is just ending.
    }
  };
  const end = async (name: string) => {
    const child = children.get(name);
    signal(name, 'SIGKILL');
    if (child !== undefined && child.pid !== undefined && !hasEnded(child))
      await once(child, 'exit');
  };

  const etcdUrl = `http://127.0.0.1:${port()}`;
  const peerUrl = `http://127.0.0.1:${port()}`;
  const members: PatroniMember[] = names.map((name) => ({
    name,
    host: '127.0.0.1',
    port: port(),
    url: `http://127.0.0.1:${port()}`,
    dataDirectory: join(root, name, 'data'),
    logFile: join(root, `${name}.log`),
  }));
  const at = (name: string) => {
    const member = members.find((one) => one.name === name);
    if (member === undefined) throw new RangeError(`no member ${name}`);
    return member;
  };
  const start = (name: string) => launch(name, programs.patroni, [join(root, `${name}.json`)]);

  const said = async (): Promise<PatroniSays | undefined> => {
    for (const { url } of members) {
      const text = await get(`${url}/cluster`);
      if (text !== undefined) return JSON.parse(text) as PatroniSays;
    }
    return undefined;
  };

  const remove = async () => {
    await Promise.all(names.map(end));
    // Without their Patroni the servers run on.
    for (let left = true; left; ) {
      const pids = members.flatMap(({ dataDirectory }) => postgresPidsOn(dataDirectory));
      for (const pid of pids) kill(pid, 'SIGKILL');
      left = pids.length > 0;
      if (left) await waitUntil(() => undefined, { timeoutMs: 20 });
    }
    await end('etcd');
    await rm(root, { recursive: true, force: true, maxRetries: 20 });
  };
  // A run that is interrupted skips its hooks.
  const abandon = () => {
    for (const name of children.keys()) signal(name, 'SIGKILL');
    for (const { dataDirectory } of members) {
      for (const pid of postgresPidsOn(dataDirectory)) kill(pid, 'SIGKILL');
    }
  };
  process.once('exit', abandon);

  const cluster: PatroniCluster = {
    members,
    superuser: (member, database = 'postgres') => {
      const { name, host, port } = at(member);
      return { name, host, port, database, user: 'postgres', password: SUPERUSER_PASSWORD };
    },
    kill(member, what) {
      signal(member, what);
      for (const pid of postgresPidsOn(at(member).dataDirectory)) kill(pid, what);
    },
    killPatroni: signal,
    async start(member) {
      await end(member);
      await start(member);
    },
    said,
    async remove() {
      process.off('exit', abandon);
      await remove();
    },
  };

  try {
    await launch('etcd', programs.etcd, [
      ...['--name', 'etcd', '--data-dir', join(root, 'etcd', 'data')],
      ...['--listen-client-urls', etcdUrl, '--advertise-client-urls', etcdUrl],
      ...['--listen-peer-urls', peerUrl, '--initial-advertise-peer-urls', peerUrl],
      ...['--initial-cluster', `etcd=${peerUrl}`, '--log-level', 'warn'],
    ]);
    await until('etcd answers', async () => (await get(`${etcdUrl}/health`))?.includes('true'));
    for (const member of members) {
      const file = join(root, `${member.name}.json`);
      // JSON is YAML.
      await writeFile(file, JSON.stringify(configOf(member, root, etcdUrl, programs, settings)), {
        mode: 0o600,
      });
      await giveTo(user, file);
    }
    await Promise.all(names.map(start));
    await until(`${names.join(', ')} run`, async () => {
      const says = await said();
      const roles = says?.members.map(({ role }) => role) ?? [];
      const streaming = says?.members.every(
        ({ state, timeline }) => timeline === 1 && /^(running|streaming)$/.test(state),
      );
      return (
        roles.length === names.length &&
        streaming &&
        roles.includes('leader') &&
        (!settings.synchronousMode || names.length === 1 || roles.includes('sync_standby'))
      );
    });
    return cluster;
  } catch (error) {
    const logs = await Promise.all(
      ['etcd', ...names].map(async (name) => {
        const text = await readFile(join(root, `${name}.log`), 'utf8').catch(() => '');
        return `${name}: ${text.split('\n').slice(-80).join('\n')}`;
      }),
    );
    await cluster.remove();
    throw new Error(logs.join('\n'), { cause: error });
  }
}

function configOf(
  { name, host, port, url, dataDirectory }: PatroniMember,
  root: string,
  etcdUrl: string,
  { postgresBin }: PatroniPrograms,
  settings: PatroniSettings,
): object {
  const listen = `${host}:${port}`;
  const rest = new URL(url).host;
  return {
    scope: 'eu',
    name,
    restapi: {
      listen: rest,
      connect_address: rest,
      ...(settings.auth !== undefined && {
        authentication: { username: settings.auth.user, password: settings.auth.password },
      }),
    },
    etcd3: { host: new URL(etcdUrl).host },
    bootstrap: {
      dcs: {
        ttl: settings.ttl,
        loop_wait: settings.loopWait,
        retry_timeout: settings.retryTimeout,
        maximum_lag_on_failover: 1_048_576,
        synchronous_mode: settings.synchronousMode,
        synchronous_mode_strict: settings.synchronousModeStrict,
        ignore_slots: [{ type: 'logical' }],
        postgresql: {
          use_pg_rewind: true,
          use_slots: true,
          parameters: {
            wal_level: 'logical',
            hot_standby_feedback: 'on',
            track_commit_timestamp: 'on',
            wal_receiver_status_interval: '1s',
            wal_receiver_timeout: '5s',
            wal_sender_timeout: '5s',
            wal_writer_delay: '10ms',
            max_connections: 60,
            shared_buffers: '16MB',
            unix_socket_directories: '',
            timezone: 'UTC',
            // Processes are killed here, the machine is not.
            fsync: 'off',
          },
        },
      },
      initdb: [{ encoding: 'UTF8' }, { locale: 'C.UTF-8' }, 'data-checksums', 'no-sync'],
    },
    postgresql: {
      listen,
      connect_address: listen,
      data_dir: dataDirectory,
      bin_dir: postgresBin,
      pgpass: join(root, name, 'pgpass'),
      basebackup: [{ checkpoint: 'fast' }, 'no-sync'],
      authentication: {
        superuser: { username: 'postgres', password: SUPERUSER_PASSWORD },
        // Without a role of its own for rewinding, whose rights a policy apply would take away.
        replication: { username: REPLICATION_ROLE, password: 'standby-of-a-test' },
      },
      pg_hba: [
        'host all all 127.0.0.1/32 scram-sha-256',
        `host replication ${REPLICATION_ROLE} 127.0.0.1/32 scram-sha-256`,
      ],
    },
    watchdog: { mode: 'off' },
  };
}

async function until(what: string, is: () => Promise<boolean | undefined>): Promise<void> {
  const done = await waitUntil(async () => (await is()) || undefined, {
    timeoutMs: READY_MS_MAX,
    everyMs: 100,
  });
  if (done === undefined) throw new Error(`not within ${READY_MS_MAX} ms: ${what}`);
}

/** The body of a 200; undefined for anything else. */
function get(url: string): Promise<string | undefined> {
  return new Promise((resolve) => {
    const call = request(url, { agent: false, timeout: ENDED_MS_MAX }, (answer) => {
      let text = '';
      answer.setEncoding('utf8');
      answer.on('data', (part: string) => {
        text += part;
      });
      answer.on('error', () => resolve(undefined));
      answer.on('end', () => resolve(answer.statusCode === 200 ? text : undefined));
    });
    call.on('timeout', () => call.destroy());
    call.on('error', () => resolve(undefined));
    call.end();
  });
}

function hasEnded({ exitCode, signalCode }: ChildProcess): boolean {
  return exitCode !== null || signalCode !== null;
}

function kill(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    // It ended between the look and the signal.
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}
