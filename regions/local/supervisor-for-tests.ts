/**
 * Runs a local world in a process of its own, so that a test can kill its supervisor.
 */
import { startClusters } from './start-clusters.ts';

const { root, regions } = JSON.parse(process.argv[2] ?? '{}');
await startClusters({
  root,
  catalogue: { regions: new Map(regions), distances: [] },
  durable: false,
  report: (step) => console.log(step),
});
console.log('everything runs');
setInterval(() => {}, 60_000);
