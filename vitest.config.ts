/**
 * Three projects: what real servers have to do in time, what else starts real servers, and what is
 * fast. All run under `npm test`.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** They hold answers to milliseconds, or type once what a page says: no third file runs beside two. */
const inTime = [
  'docs/walk.world.test.ts',
  'router/pressure.world.test.ts',
  'router/boundaries.world.test.ts',
  'router/once.world.test.ts',
  'router/failover.world.test.ts',
  'router/switchover.world.test.ts',
  'router/promotion.world.test.ts',
  'router/region-loss.world.test.ts',
  'regions/postgres.pg.test.ts',
];

/** Begun first, or the others would be through while the last of these still runs alone. */
const longest = [
  'chaos/quick.world.test.ts',
  'compose/validate.world.test.ts',
  'router/audit.world.test.ts',
  'router/policy-apply.world.test.ts',
  'router/schema-apply.world.test.ts',
  'router/airlock-attack.world.test.ts',
  'examples/demo/demo.world.test.ts',
  'router/keeper.world.test.ts',
  'router/package.world.test.ts',
  'router/redirect.world.test.ts',
  'router/keeper/patroni.world.test.ts',
  'router/keeper/feeds.world.test.ts',
];

/** For what hangs, and not for what is slow on a machine with much else to do. */
const whatHangs = { testTimeout: 240_000, hookTimeout: 300_000 };

const realServers = ['**/*.pg.test.ts', '**/*.world.test.ts'];
const outside = ['**/node_modules/**', '**/.domicile/**'];

const places = new Map(
  [...inTime, ...longest].map((path, place) => {
    const whole = join(import.meta.dirname, path);
    if (!existsSync(whole)) throw new Error(`vitest.config.ts names ${path}, which is not there`);
    return [whole, place] as const;
  }),
);

class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const placeOf = ({ moduleId }: TestSpecification) => places.get(moduleId) ?? places.size;
    return (await super.sort(files)).sort((one, other) => placeOf(one) - placeOf(other));
  }
}

export default defineConfig({
  test: {
    sequence: { sequencer: LongestFirst },
    projects: [
      {
        test: {
          name: 'servers-in-time',
          include: inTime,
          maxWorkers: 2,
          sequence: { groupOrder: 1 },
          ...whatHangs,
        },
      },
      {
        test: {
          name: 'servers',
          include: realServers,
          exclude: [...inTime, ...outside],
          // Servers wait for each other every now and then, so three files fill two cores.
          maxWorkers: 3,
          sequence: { groupOrder: 2 },
          ...whatHangs,
        },
      },
      {
        test: {
          name: 'unit',
          include: ['**/*.test.ts'],
          exclude: [...realServers, ...outside],
          // They compute, and a few listen to the clock.
          maxWorkers: 2,
          sequence: { groupOrder: 3 },
          // Properties are tried many times over, on machines that may have much else to do.
          testTimeout: 60_000,
        },
      },
    ],
  },
});
