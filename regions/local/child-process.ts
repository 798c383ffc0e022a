/**
 * Any other program of the local world, an edge or a proxy: how is it started, watched and ended?
 *
 * It gets a process group of its own, so that Ctrl-C reaches the supervisor alone, and a channel
 * on which a Node program sees 'disconnect' when the supervisor dies. Output goes to a file, not
 * to a pipe: a pipe would break under the child at the moment its supervisor is gone.
 */
import { type ChildProcess, type Serializable, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { setTimeout as pause } from 'node:timers/promises';
import { CannotStart } from './cannot-start.ts';
import { waitUntil } from './wait-until.ts';

/** After SIGKILL the kernel needs a moment, unless the process hangs in a device. */
const KILLED_LIMIT_MS = 5_000;

export type ChildExit = { code: number | null; signal: NodeJS.Signals | null };

/** How a child shows that it is up. */
export type Readiness =
  | { kind: 'message'; is: (message: unknown) => boolean }
  | { kind: 'line'; matches: RegExp }
  | { kind: 'spawned' };

export type ChildOptions = {
  name: string;
  command: string;
  args: readonly string[];
  /** The whole environment; nothing of ours is added. */
  env: Readonly<Record<string, string>>;
  cwd: string;
  logFile: string;
  ready: Readiness;
  readyLimitMs: number;
  /** From the polite signal to the one that cannot be refused. */
  stopLimitMs: number;
  /** Called for every end after the start that `stop` did not ask for. */
  onExit(exit: ChildExit): void;
};

export type LocalChild = {
  name: string;
  pid: number;
  runs(): boolean;
  /** Settles when the process has ended, for whatever reason. */
  ended: Promise<ChildExit>;
  send(message: Serializable): void;
  /** SIGTERM, and SIGKILL to the whole group when the limit has passed. Can be called twice. */
  stop(): Promise<void>;
  /** Does nothing once the process has ended: its pid may be somebody else's by then. */
  kill(signal: NodeJS.Signals): void;
};

/** Resolves when the child is ready; when it never is, it has been ended before this rejects. */
export async function startChild(options: ChildOptions): Promise<LocalChild> {
  const { name, logFile, ready, readyLimitMs } = options;
  const before = (await stat(logFile).catch(() => undefined))?.size ?? 0;
  let told = ready.kind === 'spawned';
  let started = false;
  const child = await launch(
    { ...options, onExit: (exit) => started && options.onExit(exit) },
    (message) => {
      if (ready.kind === 'message' && ready.is(message)) told = true;
    },
  );
  const outcome = await waitUntil(
    async () => {
      if (child.exit() !== undefined) return 'ended';
      if (ready.kind === 'line' && ready.matches.test(await tail(logFile, before))) told = true;
      return told ? 'ready' : undefined;
    },
    { timeoutMs: readyLimitMs },
  );
  if (outcome === 'ready') {
    started = true;
    return child.handle;
  }
  await child.handle.stop();
  const said = (await tail(logFile, before)).trim().split('\n').slice(-5).join('\n');
  throw new CannotStart(
    `${name} ${outcome === 'ended' ? 'ended at once' : `is not ready after ${readyLimitMs} ms`}. ${said === '' ? '' : `It said:\n${said}\n`}Its log is ${logFile}`,
  );
}

type Launched = { exit: () => ChildExit | undefined; handle: LocalChild };

/** Without a pause anywhere: events that nobody listens to yet would be lost. */
function launch(
  options: ChildOptions,
  onMessage: (message: unknown) => void,
): Launched | Promise<never> {
  const { name, command, args, env, cwd, logFile, stopLimitMs, onExit } = options;
  const log = openSync(logFile, 'a', 0o600);
  const child = spawn(command, [...args], {
    cwd,
    env: { ...env },
    stdio: ['ignore', log, log, 'ipc'],
    detached: true,
  });
  closeSync(log);
  child.on('message', onMessage);
  const { pid } = child;
  if (pid === undefined) return notSpawned(name, child);
  // A message to a child that is just ending fails here, and its end is reported anyway.
  child.on('error', () => {});

  let stopping = false;
  let exit: ChildExit | undefined;
  const ended = new Promise<ChildExit>((resolve) => {
    child.once('exit', (code, signal) => {
      exit = { code, signal };
      resolve(exit);
      if (!stopping) onExit(exit);
    });
  });

  const kill = (signal: NodeJS.Signals): void => {
    if (exit === undefined) child.kill(signal);
  };
  const killGroup = (): void => {
    // Until the exit is collected, neither the pid nor the group can belong to anybody else.
    if (exit === undefined) process.kill(-pid, 'SIGKILL');
  };
  const stop = async (): Promise<void> => {
    stopping = true;
    // A frozen process takes no other signal.
    kill('SIGCONT');
    kill('SIGTERM');
    if (await within(ended, stopLimitMs)) return;
    killGroup();
    await within(ended, KILLED_LIMIT_MS);
  };
  const send = (message: Serializable): void => {
    if (child.connected) child.send(message, () => {});
  };
  return {
    exit: () => exit,
    handle: { name, pid, runs: () => exit === undefined, ended, send, stop, kill },
  };
}

async function notSpawned(name: string, child: ChildProcess): Promise<never> {
  const [error] = (await once(child, 'error')) as [Error];
  throw new CannotStart(`${name} cannot be started: ${error.message}`);
}

async function within(event: Promise<unknown>, timeoutMs: number): Promise<boolean> {
  const limit = new AbortController();
  const passed = pause(timeoutMs, false, { signal: limit.signal }).catch(() => false);
  const happened = await Promise.race([event.then(() => true), passed]);
  limit.abort();
  return happened;
}

async function tail(path: string, from: number): Promise<string> {
  return (await readFile(path)).subarray(from).toString();
}
