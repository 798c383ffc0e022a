import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { Faults, findToxiproxy } from '../../regions/toxiproxy.ts';

const MAIN = join(import.meta.dirname, 'main.ts');
const children: ChildProcess[] = [];

afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
});

function run(args: readonly string[], command = process.execPath): ChildProcess {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe', 'ipc'] });
  children.push(child);
  return child;
}

async function ready(child: ChildProcess): Promise<Faults> {
  const [message] = (await once(child, 'message')) as [{ ready: boolean; port: number }];
  expect(message).toEqual({ ready: true, port: expect.any(Number) });
  return new Faults(`http://127.0.0.1:${message.port}`);
}

/** Exit code, or the signal, with all that was printed. */
async function ended(child: ChildProcess) {
  // Not 'close': a parent that disconnects does not get it.
  const [[code, signal], out, err] = await Promise.all([
    once(child, 'exit'),
    child.stdout?.setEncoding('utf8').toArray(),
    child.stderr?.setEncoding('utf8').toArray(),
  ]);
  return { how: code ?? signal, out: out?.join(''), err: err?.join('') };
}

test('it says where it listens, on one line, and tells its parent the port', async () => {
  const child = run([MAIN, '-host', '127.0.0.1', '-port', '0']);
  const end = ended(child);
  const faults = await ready(child);
  expect(await faults.version()).toBe('2.12.0');
  child.kill('SIGTERM');
  expect(await end).toEqual({
    how: 0,
    out: `toxiproxy: built-in 2.12.0, API on ${faults.url}\n`,
    err: '',
  });
});

test.each(['SIGINT', 'SIGTERM'] as const)(
  '%s ends it with 0, connections or not',
  async (signal) => {
    const child = run([MAIN, '--port', '0']);
    const end = ended(child);
    const faults = await ready(child);
    const upstream = new URL(faults.url).host;
    const { listen } = await faults.createProxy({ name: 'self', listen: 'localhost:0', upstream });
    await faults.addToxic('self', { type: 'latency', attributes: { latency: 60_000 } });
    const pending = fetch(`http://${listen}/version`).catch(() => 'cut');
    // The request is inside once a second one has been answered.
    await faults.version();
    child.kill(signal);
    expect((await end).how).toBe(0);
    expect(await pending).toBe('cut');
  },
);

test('it goes when its parent goes', async () => {
  const child = run([MAIN, '--port=0']);
  const end = ended(child);
  await ready(child);
  child.disconnect();
  expect((await end).how).toBe(0);
});

test('a configuration file is populated before it says that it is ready', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'toxiproxy-'));
  try {
    const config = join(folder, 'proxies.json');
    const proxies = [{ name: 'one', listen: 'localhost:0', upstream: '127.0.0.1:1' }];
    writeFileSync(config, JSON.stringify(proxies));
    const faults = await ready(run([MAIN, '-port', '0', '-config', config]));
    expect([...(await faults.proxies()).keys()]).toEqual(['one']);

    const child = run([MAIN, '-port', '0', '-config', join(folder, 'none.json')]);
    const end = ended(child);
    expect((await (await ready(child)).proxies()).size).toBe(0);
    child.disconnect();
    expect((await end).err).toMatch(/none\.json: ENOENT/);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('a port that is taken ends it with the reason', async () => {
  const server = createServer().listen({ host: '127.0.0.1', port: 0 });
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  const { how, err } = await ended(run([MAIN, '--port', String(port)]));
  server.close();
  expect(how).toBe(1);
  expect(err).toContain(`listen tcp 127.0.0.1:${port}: bind: address already in use`);
});

test.each([[['--prot', '1']], [['--port', 'x']], [['--seed', '1.5']], [['stray']]])(
  'flags %j are refused',
  async (flags) => {
    const { how, err } = await ended(run([MAIN, ...flags]));
    expect(how).toBe(2);
    expect(err).toMatch(/^toxiproxy: .+/);
  },
);

test('the same seed spares the same connections', async () => {
  const rolls = async () => {
    const faults = await ready(run([MAIN, '--port', '0', '--seed', '7']));
    const upstream = new URL(faults.url).host;
    const { listen } = await faults.createProxy({ name: 'p', listen: 'localhost:0', upstream });
    await faults.addToxic('p', { type: 'limit_data', toxicity: 0.5 });
    const spared: boolean[] = [];
    for (let round = 0; round < 12; round += 1) {
      const answered = fetch(`http://${listen}/nowhere`, { headers: { connection: 'close' } });
      spared.push(
        await answered.then(
          () => true,
          () => false,
        ),
      );
    }
    return spared;
  };
  const first = await rolls();
  expect(new Set(first).size).toBe(2);
  expect(await rolls()).toEqual(first);
});

test('a server closed inside a process lets that process end by itself', async () => {
  const script = `
    import { startToxiproxy } from ${JSON.stringify(join(import.meta.dirname, 'server.ts'))};
    const world = { nowMs: () => performance.now(), random: Math.random };
    const { toxiproxy } = await startToxiproxy({ host: '127.0.0.1', port: 0, world });
    const ask = (path, body) => fetch(toxiproxy.url + path, { method: 'POST', body: JSON.stringify(body) });
    const upstream = '127.0.0.1:' + toxiproxy.port;
    const { listen } = await (await ask('/proxies', { name: 'p', listen: '127.0.0.1:0', upstream })).json();
    await ask('/proxies/p/toxics', { type: 'latency', attributes: { latency: 60000 } });
    await ask('/proxies/p/toxics', { type: 'reset_peer', stream: 'upstream', toxicity: 0 });
    const pending = fetch('http://' + listen + '/version').catch(() => console.log('cut'));
    while (toxiproxy.connectionCount() === 0) await new Promise(setImmediate);
    await toxiproxy.close();
    await pending;
    process.disconnect();
  `;
  const { how, out, err } = await ended(run(['--input-type=module', '--eval', script]));
  expect({ how, out, err }).toEqual({ how: 0, out: 'cut\n', err: '' });
});

test('the local world can start it from what findToxiproxy says', async () => {
  const found = findToxiproxy({ PATH: '' });
  if (found.kind !== 'built-in') throw new Error(found.kind);
  const child = run(found.args({ host: '127.0.0.1', port: 0 }), found.command);
  expect(await (await ready(child)).version()).toBe('2.12.0');
});
