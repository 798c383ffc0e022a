/**
 * Who walks through a page as its reader would?
 *
 * Types every command of a page into a shell, as it stands there. Two things are put in the place
 * of others, so that a walk disturbs nobody: the ports of `regions.yaml` become ports from
 * `basePort` on, and the folder `.domicile` becomes `root`.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import {
  edgePorts,
  fromBasePort,
  portsNeeded,
  postgresPorts,
} from '../regions/local/catalogue-ports.ts';
import { freePortsInARow } from '../regions/local/ports.ts';
import { readCatalogue } from '../regions/read-catalogue.ts';
import { type Step, shows } from './console-for-tests.ts';

const CHECKOUT = fileURLToPath(new URL('..', import.meta.url));
const LAST_LINE_OF_START = 'Ctrl-C ends everything that was started here.';

/** Ten times what a start takes on an idle machine. */
export const WORLD_MS_MAX = 180_000;
/** A replica catches up and a killed process is gone within milliseconds on an idle machine. */
const SHOWN_MS_MAX = 15_000;
const LOOK_EVERY_MS = 100;

export type Substitution = { root: string; basePort: number; ports: ReadonlyMap<string, string> };

export async function substitution(root: string): Promise<Substitution> {
  const path = new URL('../examples/storefront/regions.yaml', import.meta.url);
  const read = readCatalogue(await readFile(path, 'utf8'), 'regions.yaml');
  if (!('catalogue' in read)) throw new Error('regions.yaml has complaints');
  const basePort = await freePortsInARow(portsNeeded(read.catalogue));
  const moved = fromBasePort(read.catalogue, basePort);
  const wanted = [...postgresPorts(moved), ...edgePorts(moved)];
  const documented = [...postgresPorts(read.catalogue), ...edgePorts(read.catalogue)];
  const ports = new Map(
    documented.map(({ port }, i) => [String(port), String(wanted[i]?.port)] as const),
  );
  return { root, basePort, ports };
}

/** The command or output as it reads in this walk. */
export function substituted(text: string, { root, basePort, ports }: Substitution): string {
  return text
    .replace(/\b7\d{3}\b/g, (port) => ports.get(port) ?? port)
    .replaceAll('.domicile/', `${root}/`)
    .replace(/^npm start$/, `npm start -- --root ${root} --base-port ${basePort}`)
    .replace(/^npm run domicile -- down\b/, `npm run domicile -- down --root ${root}`);
}

export type Typed = { code: number | null; stdout: string; stderr: string };

/** Types a line into a shell of its own. The shell reads it, so no process has it as argument. */
export async function type(command: string, folder: string): Promise<Typed> {
  const cwd = command.startsWith('npm ') ? CHECKOUT : folder;
  const shell = spawn('bash', ['-s'], { cwd, stdio: ['pipe', 'pipe', 'pipe'] });
  let stdout = '';
  let stderr = '';
  shell.stdout.on('data', (part) => {
    stdout += part;
  });
  shell.stderr.on('data', (part) => {
    stderr += part;
  });
  shell.stdin.end(`${command}\n`);
  const [code] = (await once(shell, 'close')) as [number | null];
  return { code, stdout, stderr };
}

/**
 * Types a step until its output is what the page shows. Only what reads may be typed twice: it
 * shows the state that a person sees who types slower than a replica follows.
 */
export async function walk(step: Step, folder: string, put: Substitution): Promise<void> {
  const command = substituted(step.command, put);
  const expected = substituted(step.output, put);
  const reads = /^curl /.test(command) && !/ -d |-X /.test(command);
  for (let leftMs = SHOWN_MS_MAX; ; leftMs -= LOOK_EVERY_MS) {
    const { code, stdout, stderr } = await type(command, folder);
    if (code === 0 && shows(expected, stdout)) return;
    if (!reads || leftMs <= 0) {
      throw new Error(
        `line ${step.line}: ${command}\nthe page shows\n${expected}\nbut status ${code} came with\n${stdout}\n${stderr}`,
      );
    }
    await pause(LOOK_EVERY_MS);
  }
}

export type StartedWorld = { pid: number; stdout: string; end(): Promise<void> };

/** `npm start` in a terminal of its own, until it has said everything. */
export async function startWorldAsWritten(command: string): Promise<StartedWorld> {
  const npm = spawn('bash', ['-c', command], { cwd: CHECKOUT, stdio: 'pipe', detached: true });
  let stdout = '';
  let stderr = '';
  const said = new Promise<void>((resolve, reject) => {
    const limit = setTimeout(
      () => reject(new Error(`not started: ${stdout}${stderr}`)),
      WORLD_MS_MAX,
    );
    npm.stdout.on('data', (part) => {
      stdout += part;
      if (!stdout.includes(LAST_LINE_OF_START)) return;
      clearTimeout(limit);
      resolve();
    });
    npm.stderr.on('data', (part) => {
      stderr += part;
    });
    npm.once('exit', (code) => {
      clearTimeout(limit);
      reject(new Error(`npm start ended with status ${code}: ${stdout}${stderr}`));
    });
  });
  const end = () => pressCtrlC(npm);
  try {
    await said;
  } catch (error) {
    await end();
    throw error;
  }
  return { pid: npm.pid ?? 0, stdout, end };
}

/** A terminal sends SIGINT to everything in the foreground: here, to the group of `npm start`. */
async function pressCtrlC(npm: ChildProcess): Promise<void> {
  if (npm.exitCode !== null || npm.signalCode !== null || npm.pid === undefined) return;
  const ended = once(npm, 'close');
  process.kill(-npm.pid, 'SIGINT');
  await ended;
}
