/** Two projects: what is fast, then what starts real servers. Both run under `npm test`. */
import { defineConfig } from 'vitest/config';

const realServers = ['**/*.pg.test.ts', '**/*.world.test.ts'];
const outside = ['**/node_modules/**', '**/.domicile/**'];

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'unit',
          include: ['**/*.test.ts'],
          exclude: [...realServers, ...outside],
          // Properties are tried many times over, on machines that may have much else to do.
          testTimeout: 60_000,
        },
      },
      {
        test: {
          name: 'servers',
          include: realServers,
          exclude: outside,
          // Servers mostly wait for each other, so two files share two cores well.
          maxWorkers: 2,
          testTimeout: 60_000,
          hookTimeout: 120_000,
        },
      },
    ],
  },
});
