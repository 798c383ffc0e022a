import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { describe, expect, test } from 'vitest';
import { encodingsOf } from './canary-encodings.ts';
import { CanaryScanner } from './canary-scanner.ts';
import { Gathering } from './channel.ts';
import { regionsOf, scanMemory } from './scan-memory.ts';

const linux = process.platform === 'linux';

/** A process that holds a text it was told over a pipe, so that no command line holds it. */
async function holder(text: string) {
  const script = `
    const parts = [];
    process.stdin.on('data', (part) => { parts.push(part); process.stdout.write('held'); });
    setInterval(() => parts.length, 1000);`;
  const child = spawn(process.execPath, ['-e', script], { stdio: ['pipe', 'pipe', 'inherit'] });
  child.stdin.write(text);
  await once(child.stdout, 'data');
  return child;
}

async function found(pid: number, canary: string): Promise<number> {
  const into = new Gathering(new CanaryScanner(encodingsOf(canary)), '');
  expect(await scanMemory(pid, into)).toEqual({ kind: 'looked' });
  expect(into.bytes).toBeGreaterThan(1_000_000);
  return into.hits.length;
}

describe.runIf(linux)('the memory of a process', () => {
  test('shows what it holds, and nothing that only we hold', async () => {
    const mine = `Cn${process.hrtime.bigint()}mine`;
    const other = `Cn${process.hrtime.bigint()}other`;
    const child = await holder(mine);
    try {
      expect(await found(child.pid ?? 0, mine)).toBeGreaterThan(0);
      expect(await found(child.pid ?? 0, other)).toBe(0);
    } finally {
      child.kill('SIGKILL');
      await once(child, 'exit');
    }
  });

  test('that has ended cannot be looked at', async () => {
    const child = await holder('anything');
    child.kill('SIGKILL');
    await once(child, 'exit');
    const into = new Gathering(new CanaryScanner([]), '');
    expect(await scanMemory(child.pid ?? 0, into)).toEqual({
      kind: 'could-not-look',
      because: `no process ${child.pid}`,
    });
  });
});

test('programs on disk and the kernel’s own pages are left out', () => {
  const maps = `00400000-00500000 r-xp 00000000 fd:01 123 /usr/bin/node
00500000-00501000 r--p 00000000 fd:01 123 /usr/bin/node
00501000-00502000 rw-p 00000000 fd:01 123 /usr/bin/node
01000000-02000000 rw-p 00000000 00:00 0 [heap]
7f0000000000-7f0000001000 r--p 00000000 00:00 0 
7f0000001000-7f0000002000 ---p 00000000 00:00 0 
7ffd00000000-7ffd00001000 r--p 00000000 00:00 0 [vvar]
7ffd00001000-7ffd00002000 rw-s 00000000 00:01 9 /dev/zero (deleted)
`;
  expect(regionsOf(maps).map(({ from, name }) => `${from.toString(16)} ${name}`)).toEqual([
    '501000 /usr/bin/node',
    '1000000 [heap]',
    '7f0000000000 anonymous',
    '7ffd00001000 /dev/zero (deleted)',
  ]);
});
