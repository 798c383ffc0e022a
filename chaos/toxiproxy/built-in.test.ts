/** The built-in server under the contract, in this process. */
import { performance } from 'node:perf_hooks';
import { toxiproxyContract } from './contract.ts';
import { startToxiproxy } from './server.ts';

const nowMs = () => performance.now();

toxiproxyContract('the built-in Toxiproxy', {
  nowMs,
  start: async () => {
    const world = { nowMs, random: Math.random };
    const started = await startToxiproxy({ host: '127.0.0.1', port: 0, world });
    if (started.kind === 'cannot_listen') throw new Error(started.because);
    return { url: started.toxiproxy.url, stop: () => started.toxiproxy.close() };
  },
});
