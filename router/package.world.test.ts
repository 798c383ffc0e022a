/** The package as somebody installs it who has none of the source. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { portsNeeded } from '../regions/local/catalogue-ports.ts';
import { freePortsInARow } from '../regions/local/ports.ts';
import { readCatalogue } from '../regions/read-catalogue.ts';

const SOURCE = resolve(import.meta.dirname, '..');
/** An installation downloads, and a world starts on a machine that may have much else to do. */
const SET_UP_MS_MAX = 300_000;

const home = mkdtempSync(join(tmpdir(), 'domicile-package-'));
let up: ChildProcess | undefined;
let said = '';

/** As in a terminal, where nothing of this repository is on the PATH. */
function run(command: string, ...args: string[]): string {
  const npmOfItsOwn = Object.entries(process.env).filter(([name]) => !/^npm_/i.test(name));
  const outside = (process.env.PATH ?? '').split(':').filter((one) => !one.startsWith(SOURCE));
  return execFileSync(command, args, {
    cwd: home,
    encoding: 'utf8',
    env: { ...Object.fromEntries(npmOfItsOwn), PATH: outside.join(':') },
  });
}

beforeAll(async () => {
  chmodSync(home, 0o711);
  execFileSync('npm', ['pack', '--silent', '--pack-destination', home], { cwd: SOURCE });
  writeFileSync(join(home, 'package.json'), JSON.stringify({ private: true, type: 'module' }));
  run('npm', 'install', '--silent', '--prefer-offline', './domicile-0.1.0.tgz', 'hono', 'zod');
  run('npx', 'domicile', 'init', 'notes');
  const regions = readCatalogue(readFileSync(join(home, 'notes/regions.yaml'), 'utf8'), 'notes');
  if ('complaints' in regions) throw new Error('the regions of the notes have complaints');
  const base = await freePortsInARow(portsNeeded(regions.catalogue));
  const options = ['--app', 'notes/app.ts', '--base-port', String(base), '--not-durable'];
  up = spawn(join(home, 'node_modules/.bin/node'), [bin(), 'up', ...options], { cwd: home });
  up.stdout?.setEncoding('utf8').on('data', (text: string) => {
    said += text;
  });
  up.stderr?.setEncoding('utf8').on('data', (text: string) => {
    said += text;
  });
  await new Promise<void>((ready, failed) => {
    up?.stdout?.on('data', () => said.includes('Ctrl-C ends') && ready());
    up?.once('exit', () => failed(new Error(`it ended:\n${said}`)));
  });
}, SET_UP_MS_MAX);

afterAll(async () => {
  if (up?.exitCode === null) {
    up.kill('SIGTERM');
    await once(up, 'exit');
  }
  rmSync(home, { recursive: true, force: true, maxRetries: 20 });
}, SET_UP_MS_MAX);

function bin(): string {
  return join(home, 'node_modules/domicile/dist/router/main.js');
}

function edges(): string[] {
  const urls = said.match(/http:\/\/127\.0\.0\.1:\d+(?= {3}Postgres)/g) ?? [];
  expect(urls).toHaveLength(3);
  return urls;
}

async function send(url: string, body: object, session?: string): Promise<Response> {
  return fetch(url, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      ...(session !== undefined && { 'domicile-session': session }),
    },
    body: JSON.stringify(body),
  });
}

test('the console came with it', async () => {
  const [us] = edges() as [string];
  const door = await fetch(`${us}/console`);
  expect([door.status, await door.text()]).toEqual([
    401,
    expect.stringContaining('Operator token'),
  ]);
  expect((await fetch(`${us}/console/page/page.css`)).status).toBe(200);
});

test('the app that `domicile init` writes places people and shows them what they wrote', async () => {
  const [us, eu, asia] = edges() as [string, string, string];
  const ada = await send(`${asia}/users`, { id: 'ada', country: 'DE' });
  expect([ada.status, ada.headers.get('domicile-home')]).toEqual([201, 'eu']);
  const note = await send(`${us}/users/ada/notes`, { text: 'a note' });
  expect([note.status, note.headers.get('domicile-home')]).toEqual([201, 'eu']);
  const session = note.headers.get('domicile-session') ?? '';
  const read = await fetch(`${eu}/users/ada/notes`, { headers: { 'domicile-session': session } });
  expect([read.status, await read.json()]).toEqual([200, [{ text: 'a note' }]]);
  expect(read.headers.get('domicile-served-by')).toMatch(/^eu\//);
});

test('a start names the routes of no other app, and where this one tells its own', async () => {
  expect(said).not.toContain('/orders');
  const [, url = ''] = /curl (\S+)/.exec(said) ?? [];
  const { paths } = (await (await fetch(url)).json()) as { paths: Record<string, unknown> };
  expect(Object.keys(paths)).toContain('/users/{user}/notes');
});

test('`domicile init` overwrites nothing, and says what is in its way', () => {
  const before = readFileSync(join(home, 'notes/app.ts'), 'utf8');
  expect(() => run('npx', 'domicile', 'init', 'notes')).toThrow(
    /notes\/app\.ts {2}is there already; nothing was written/,
  );
  expect(readFileSync(join(home, 'notes/app.ts'), 'utf8')).toBe(before);
});

test('an app finds the types of what it imports', () => {
  writeFileSync(
    join(home, 'tsconfig.json'),
    JSON.stringify({
      compilerOptions: {
        module: 'nodenext',
        target: 'es2024',
        strict: true,
        noEmit: true,
        skipLibCheck: true,
        types: [],
        lib: ['es2024', 'dom'],
      },
      files: ['notes/app.ts'],
    }),
  );
  const tsc = join(SOURCE, 'node_modules/typescript/bin/tsc');
  execFileSync(process.execPath, [tsc, '-p', home], { cwd: home, encoding: 'utf8' });
  // The same with a mistake in it, so that the check is known to look.
  const app = join(home, 'notes/app.ts');
  const text = readFileSync(app, 'utf8');
  writeFileSync(app, text.replace('c.var.data.write(', 'c.var.data.wriet('));
  try {
    expect(() => execFileSync(process.execPath, [tsc, '-p', home], { stdio: 'pipe' })).toThrow();
  } finally {
    writeFileSync(app, text);
  }
});

test('no test and no source of the repository is in the package', () => {
  const inside = join(home, 'node_modules/domicile');
  expect(existsSync(join(inside, 'router'))).toBe(false);
  const files = run('find', inside, '-name', '*test*').split('\n').filter(Boolean);
  expect(files).toEqual([]);
});
