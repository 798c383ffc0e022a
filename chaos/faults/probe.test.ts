import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { expect, test } from 'vitest';
import { probe } from './probe.ts';

const LATE_MS = 200;

/** Says one byte so long after it was asked. */
async function late(afterMs: number) {
  const server = createServer((socket) => {
    socket.on('error', () => {});
    socket.on('data', () => setTimeout(() => socket.write('N'), afterMs));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return { listen: `127.0.0.1:${port}`, end: () => server.close() };
}

test('an answer that is later than the limit is none, and with a later limit it is one', async () => {
  const { listen, end } = await late(LATE_MS);
  expect((await probe(listen, 'postgres', LATE_MS / 4)).kind).toBe('silent');
  const { kind, ms } = await probe(listen, 'postgres', LATE_MS * 50);
  expect(kind).toBe('answered');
  expect(ms).toBeGreaterThanOrEqual(LATE_MS - 1);
  end();
});
