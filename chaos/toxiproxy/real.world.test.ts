/** The original server under the same contract, where there is one. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { performance } from 'node:perf_hooks';
import { test } from 'vitest';
import { Faults, findToxiproxy } from '../../regions/toxiproxy.ts';
import { toxiproxyContract } from './contract.ts';

const HOST = '127.0.0.1';
const READY_WITHIN_MS = 10_000;
const HOW_TO_GET_IT =
  'no real Toxiproxy: put toxiproxy-server on the PATH, or `GOBIN=/tmp/gobin go install ' +
  'github.com/Shopify/toxiproxy/v2/cmd/server@v2.12.0` and TOXIPROXY_SERVER=/tmp/gobin/server';

const found = findToxiproxy({ ...process.env, TOXIPROXY_URL: undefined });

if (found.kind !== 'installed') {
  test('the real Toxiproxy keeps the contract', (context) => {
    console.warn(HOW_TO_GET_IT);
    context.skip(HOW_TO_GET_IT);
  });
} else {
  toxiproxyContract(`the Toxiproxy at ${found.command}`, {
    nowMs: () => performance.now(),
    start: async () => {
      const port = await freePort();
      const child = spawn(found.command, found.args({ host: HOST, port }), { stdio: 'ignore' });
      const url = `http://${HOST}:${port}`;
      await new Faults(url).untilReady({ withinMs: READY_WITHIN_MS });
      return {
        url,
        stop: async () => {
          const exited = once(child, 'exit');
          child.kill('SIGTERM');
          await exited;
        },
      };
    },
  });
}

async function freePort(): Promise<number> {
  const server = createServer().listen({ host: HOST, port: 0 });
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new TypeError('a server has a port');
  return address.port;
}
