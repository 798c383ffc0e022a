import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, test } from 'vitest';
import { ChaosError } from '../world.ts';
import { startClients } from './start-clients.ts';

test('a world in which nobody can be created is no bug: the run has a reason not to be', async () => {
  const edge = createServer((_, answer) => {
    answer.writeHead(403, { 'content-type': 'application/problem+json' });
    answer.end('{"type":"/docs/problems.md#placement-refused","retry":"after-change"}');
  });
  edge.listen(0, '127.0.0.1');
  await once(edge, 'listening');
  const url = `http://127.0.0.1:${(edge.address() as AddressInfo).port}`;
  const failed = await startClients({
    edges: new Map(['us', 'eu', 'asia'].map((region) => [region, [url]])),
    seed: 7,
    now: () => performance.now(),
  }).catch((error: unknown) => error);
  edge.close();
  edge.closeAllConnections();
  expect(failed).toBeInstanceOf(ChaosError);
  expect(String(failed)).toMatch(
    /edge of us did not create the user run-7-us-0: placement-refused/,
  );
});
