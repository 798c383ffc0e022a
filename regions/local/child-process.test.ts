import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type ChildExit, type ChildOptions, startChild } from './child-process.ts';
import { isAlive } from './process-identity.ts';
import { waitUntil } from './wait-until.ts';

let folder: string;
let logs = 0;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'domicile-child-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

function program(code: string, options: Partial<ChildOptions> = {}) {
  const exits: ChildExit[] = [];
  const logFile = join(folder, `${logs++}.log`);
  const start = startChild({
    name: 'edge us',
    command: process.execPath,
    args: ['-e', code],
    env: {},
    cwd: folder,
    logFile,
    ready: { kind: 'message', is: (message) => message === 'ready' },
    readyLimitMs: 10_000,
    stopLimitMs: 5_000,
    onExit: (exit) => void exits.push(exit),
    ...options,
  });
  return { start, exits, logFile };
}

const STAYS = 'setInterval(() => {}, 1000); process.send("ready");';

test('a child is ready when it says so, and stops when asked', async () => {
  const { start, exits } = program(STAYS);
  const child = await start;
  expect(isAlive(child.pid)).toBe(true);
  await Promise.all([child.stop(), child.stop()]);
  expect(isAlive(child.pid)).toBe(false);
  expect(await child.ended).toEqual({ code: null, signal: 'SIGTERM' });
  expect(exits).toEqual([]);
  await child.stop();
});

test('a line in its log is as good as a message', async () => {
  const code = 'setInterval(() => {}, 1000); console.log("listening on 8080")';
  const { start, logFile } = program(code, {
    ready: { kind: 'line', matches: /listening on \d+/ },
  });
  const child = await start;
  expect(await readFile(logFile, 'utf8')).toBe('listening on 8080\n');
  await child.stop();
});

test('a child that will not go is made to, with its own children', async () => {
  const code = `
    const { spawn } = require('node:child_process');
    const grandchild = spawn('sleep', ['600']);
    process.on('SIGTERM', () => {});
    process.send({ grandchild: grandchild.pid });
    process.on('message', () => process.send('ready'));
    ${STAYS}`;
  let grandchild = 0;
  const { start } = program(code, {
    stopLimitMs: 100,
    ready: {
      kind: 'message',
      is: (message) => {
        if (typeof message === 'object')
          grandchild = (message as { grandchild: number }).grandchild;
        return message === 'ready';
      },
    },
  });
  const child = await start;
  expect(isAlive(grandchild)).toBe(true);
  await child.stop();
  expect((await child.ended).signal).toBe('SIGKILL');
  expect(await waitUntil(() => !isAlive(grandchild) || undefined, { timeoutMs: 5_000 })).toBe(true);
});

test('a frozen child stops too', async () => {
  const child = await program(STAYS).start;
  child.kill('SIGSTOP');
  await child.stop();
  expect(isAlive(child.pid)).toBe(false);
});

test('an end that nobody asked for is reported', async () => {
  const { start, exits } = program(`${STAYS} process.on('message', () => process.exit(3));`);
  const child = await start;
  child.send('go');
  await child.ended;
  expect(exits).toEqual([{ code: 3, signal: null }]);
  child.kill('SIGKILL');
});

test('a child that ends before it is ready is quoted, and reported once', async () => {
  const { start, exits, logFile } = program('console.error("no such region"); process.exit(2)');
  await expect(start).rejects.toThrow(
    `edge us ended at once. It said:\nno such region\nIts log is ${logFile}`,
  );
  expect(exits).toEqual([]);
});

test('a child that never gets ready is ended', async () => {
  const code = 'console.log(process.pid); setInterval(() => {}, 1000)';
  const { start, logFile } = program(code, { readyLimitMs: 300 });
  await expect(start).rejects.toThrow('edge us is not ready after 300 ms');
  const said = await readFile(logFile, 'utf8');
  if (said !== '') expect(isAlive(Number(said))).toBe(false);
});

test('a program that does not exist is named', async () => {
  const { start } = program('', { command: join(folder, 'nothing') });
  await expect(start).rejects.toThrow('edge us cannot be started');
});

test('a child learns of its supervisor’s death and sees nothing of its environment', async () => {
  const supervisor = `
    const { startChild } = await import(${JSON.stringify(join(import.meta.dirname, 'child-process.ts'))});
    const child = await startChild({
      name: 'edge', command: process.execPath, cwd: '/', env: { ONLY: 'this' },
      args: ['-e', 'process.on("disconnect", () => process.exit()); process.send(Object.keys(process.env))'],
      logFile: ${JSON.stringify(join(folder, 'orphan.log'))},
      ready: { kind: 'message', is: (names) => { console.log(names.includes('SECRET')); return true } },
      readyLimitMs: 10000, stopLimitMs: 1000, onExit() {},
    });
    console.log(child.pid);`;
  const parent = spawn(process.execPath, ['--input-type=module', '-e', supervisor], {
    env: { SECRET: 'value' },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  try {
    let said = '';
    for await (const chunk of parent.stdout) {
      said += chunk;
      if (said.split('\n').length > 2) break;
    }
    const [sees, pid] = said.trim().split('\n');
    expect(sees).toBe('false');
    expect(isAlive(Number(pid))).toBe(true);
    parent.kill('SIGKILL');
    const gone = await waitUntil(() => !isAlive(Number(pid)) || undefined, { timeoutMs: 5_000 });
    expect(gone).toBe(true);
  } finally {
    parent.kill('SIGKILL');
  }
});
