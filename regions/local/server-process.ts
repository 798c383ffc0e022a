/**
 * One PostgreSQL server as a child of ours: how is it started, stopped and killed?
 *
 * It runs in a session of its own, so that Ctrl-C in the terminal reaches the supervisor only and
 * the supervisor decides the order. Its log goes to a file that we open and it inherits: outside
 * the data directory, and writable whoever it runs as.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync, statSync } from 'node:fs';
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { CannotStart } from './cannot-start.ts';
import type { Binaries } from './platform-binaries.ts';
import { postmasterOn, readPostmasterFile } from './postmaster-file.ts';
import { isAlive, postgresPidsOn } from './process-identity.ts';
import { type ProcessUser, spawnAs } from './process-user.ts';
import { waitUntil } from './wait-until.ts';

/** Crash recovery of the largest log we allow (max_wal_size) takes a few seconds on a slow disk. */
const READY_LIMIT_MS = 60_000;
/** How long the parts of a killed server may take to notice that their postmaster is gone. */
const ORPHANS_LIMIT_MS = 10_000;
/** Fast shutdown waits for replicas and a checkpoint; immediate needs neither. */
const FAST_LIMIT_MS = 2_500;
const IMMEDIATE_LIMIT_MS = 500;

export type Exit = { code: number | null; signal: NodeJS.Signals | null };

export type ServerOptions = {
  name: string;
  dataDirectory: string;
  logFile: string;
  binaries: Binaries;
  user: ProcessUser | undefined;
  /** Until it takes connections; recovery from a backup takes longer than from a crash. */
  readyLimitMs?: number;
  /** Called for every end after the start that `stop` did not ask for. */
  onExit(exit: Exit): void;
};

export class ServerProcess {
  readonly #options: ServerOptions;
  #child: ChildProcess | undefined;
  #starting = false;
  #stopping = false;

  constructor(options: ServerOptions) {
    this.#options = options;
  }

  /** The postmaster, as long as it runs. */
  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /** The postmaster first, then what it forked; also orphans of one that was killed. */
  pids(): number[] {
    const pids = postgresPidsOn(this.#options.dataDirectory);
    const postmaster = this.pid;
    if (postmaster === undefined) return pids;
    return [postmaster, ...pids.filter((pid) => pid !== postmaster)];
  }

  /** Resolves when connections are accepted. */
  async start(): Promise<void> {
    const { name } = this.#options;
    if (this.#child !== undefined || this.#starting) throw new Error(`${name} runs already`);
    this.#stopping = false;
    this.#starting = true;
    try {
      await this.#clearTheWay();
      await this.#spawnAndWait();
    } finally {
      this.#starting = false;
    }
  }

  async #spawnAndWait(): Promise<void> {
    const { name, dataDirectory, logFile, binaries, user } = this.#options;
    const { readyLimitMs = READY_LIMIT_MS } = this.#options;
    if (this.#stopping) throw new CannotStart(`${name} was stopped while it started`);
    const logStart = statSync(logFile, { throwIfNoEntry: false })?.size ?? 0;
    // No pause between the spawn and its listeners: a failure is told once, at the next tick.
    const log = openSync(logFile, 'a', 0o600);
    const child = spawn(binaries.postgres, ['-D', dataDirectory], {
      ...spawnAs(user),
      cwd: '/',
      env: { LC_ALL: 'C', TZ: 'UTC' },
      stdio: ['ignore', log, log],
      detached: true,
    });
    closeSync(log);
    this.#child = child;
    let failure: Error | undefined;
    let started = false;
    child.once('error', (error) => {
      failure = error;
      if (child.pid === undefined) this.#child = undefined;
    });
    child.once('exit', (code, signal) => {
      this.#child = undefined;
      if (started && !this.#stopping) this.#options.onExit({ code, signal });
    });

    const outcome = await waitUntil(
      async () => {
        if (this.#child !== child) return 'ended';
        const file = await readPostmasterFile(dataDirectory);
        return file?.pid === child.pid && file?.status === 'ready' ? 'ready' : undefined;
      },
      { timeoutMs: readyLimitMs },
    );
    if (outcome === 'ready') {
      started = true;
      return;
    }
    if (this.#stopping) throw new CannotStart(`${name} was stopped while it started`);
    const said = lastComplaints((await readFile(logFile)).subarray(logStart).toString());
    // Too late is as bad as never: half a start must not linger.
    if (outcome === undefined) await this.stop();
    const what = outcome === 'ended' ? 'ended at once' : `is not ready after ${readyLimitMs} ms`;
    throw new CannotStart(
      `Postgres ${name} ${what}${failure === undefined ? '' : ` (${failure.message})`}. ${said}Its log is ${logFile}`,
    );
  }

  /** Gently, then firmly, then by force. Safe to call at any time and any number of times. */
  async stop(): Promise<void> {
    this.#stopping = true;
    await endServer({
      dataDirectory: this.#options.dataDirectory,
      postmaster: () => this.#child?.pid,
    });
  }

  /**
   * What the machine could do to this server. SIGKILL, SIGSTOP and SIGCONT reach all of its
   * processes, as a power cut or a frozen machine would; other signals are messages to the
   * postmaster.
   */
  kill(signal: NodeJS.Signals): void {
    if (signal === 'SIGSTOP' || signal === 'SIGCONT') this.#toAll(signal);
    else if (signal !== 'SIGKILL') this.#child?.kill(signal);
    else {
      // In a power cut nobody sees another one die. A process that does goes on a little: a worker
      // that waits for the standby takes it as the end of its wait, and confirms what it wrote.
      this.#toAll('SIGSTOP');
      this.#toAll('SIGKILL');
    }
  }

  /**
   * The postmaster first, so that it forks no more and sees no child die. Its group rather than its
   * pid, because Linux lets a fork that is under way come to its end, and only a signal to a group
   * reaches that child too; older ones are in the list if it is made afterwards.
   */
  #toAll(signal: NodeJS.Signals): void {
    if (this.pid !== undefined) send(-this.pid, signal);
    for (const pid of this.pids()) if (pid !== this.pid) send(pid, signal);
  }

  /**
   * A server that was killed may leave processes for a moment, and a pid file for good. While
   * such a process lives, PostgreSQL rightly refuses to start. And when the pid in the file has
   * gone to somebody else, it refuses wrongly; that file we remove.
   */
  async #clearTheWay(): Promise<void> {
    const { name, dataDirectory } = this.#options;
    const gone = await waitUntil(() => postgresPidsOn(dataDirectory).length === 0 || undefined, {
      timeoutMs: ORPHANS_LIMIT_MS,
    });
    if (gone === undefined) {
      const pids = postgresPidsOn(dataDirectory).join(', ');
      throw new CannotStart(`Postgres ${name}: processes ${pids} still work in ${dataDirectory}`);
    }
    const file = await readPostmasterFile(dataDirectory);
    if (file !== undefined && isAlive(file.pid) && process.platform === 'linux') {
      await rm(join(dataDirectory, 'postmaster.pid'), { force: true });
    }
  }
}

/**
 * Ends a postmaster that a dead supervisor left running on a data directory, which is checked.
 * True when there was one.
 */
export async function endLeftover(dataDirectory: string): Promise<number | undefined> {
  const pid = await postmasterOn(dataDirectory);
  if (pid === undefined) return undefined;
  await endServer({
    dataDirectory,
    postmaster: () => (isAlive(pid) ? pid : undefined),
  });
  return pid;
}

async function endServer(server: {
  dataDirectory: string;
  postmaster: () => number | undefined;
}): Promise<void> {
  const ended = () => server.postmaster() === undefined || undefined;
  // A frozen process takes no other signal.
  for (const pid of server.postmaster() === undefined ? [] : postgresPidsOn(server.dataDirectory)) {
    send(pid, 'SIGCONT');
  }
  for (const [signal, timeoutMs] of [
    ['SIGINT', FAST_LIMIT_MS],
    ['SIGQUIT', IMMEDIATE_LIMIT_MS],
  ] as const) {
    const pid = server.postmaster();
    if (pid === undefined) break;
    send(pid, signal);
    if (await waitUntil(ended, { timeoutMs })) break;
  }
  const pid = server.postmaster();
  if (pid !== undefined) send(pid, 'SIGKILL');
  // Whoever still works in the directory belongs to this server, now without its postmaster.
  await waitUntil(
    () => {
      const left = postgresPidsOn(server.dataDirectory);
      if (server.postmaster() === undefined) for (const orphan of left) send(orphan, 'SIGKILL');
      return left.length === 0 || undefined;
    },
    { timeoutMs: ORPHANS_LIMIT_MS },
  );
}

function send(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    // It ended between the look and the signal.
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

function lastComplaints(log: string): string {
  const lines = log.split('\n').filter((line) => /(FATAL|PANIC|error while loading)/.test(line));
  return lines.length === 0 ? '' : `It said:\n${lines.slice(-3).join('\n')}\n`;
}
