/** Do the production page's figures follow from its assumptions, and those from the code? */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { DEFAULT_LIMITS } from '../router/edge.ts';
import {
  bytesAtHome,
  CAPACITY,
  HOMES,
  monthlyTotal,
  needs,
  USERS,
  whereOnePrimaryEnds,
} from './cost.ts';
import { withTables } from './cost-tables.ts';

const read = (path: string) => readFileSync(join(import.meta.dirname, '..', path), 'utf8');

describe('docs/production.md', () => {
  test('shows the tables as they are computed', () => {
    const page = read('docs/production.md');
    expect(withTables(page)).toBe(page);
  });
});

describe('the arithmetic', () => {
  test('everybody is at home somewhere, once', () => {
    expect(Object.values(HOMES).reduce((sum, share) => sum + share, 0)).toBeCloseTo(1);
  });

  test('follows by hand for a million users in the largest home', () => {
    const asia = needs('asia', 1e6);
    expect(asia.users).toBe(400_000);
    // A fifth comes on a day and writes three times; three times the mean at the peak.
    expect(asia.writesPeak).toBeCloseTo((400_000 * 0.2 * 3 * 3) / 86_400);
    // Its own rows, everybody's directory, and a day's kept answers.
    expect(asia.dataGb).toBeCloseTo(
      (400_000 * bytesAtHome() + 1e6 * 170 + 400_000 * 0.2 * 3 * 600) / 1e9,
    );
  });

  test('more users never need less, nor cost less', () => {
    for (const home of ['us', 'eu', 'asia'] as const) {
      const [small, middle, large] = USERS.map((everybody) => needs(home, everybody));
      if (!small || !middle || !large) throw new Error('three sizes');
      expect(small.diskGb <= middle.diskGb && middle.diskGb <= large.diskGb).toBe(true);
      expect(monthlyTotal(small)).toBeLessThan(monthlyTotal(middle));
      expect(monthlyTotal(middle)).toBeLessThan(monthlyTotal(large));
    }
  });

  test('one primary ends where the table needs a second cluster, and not before', () => {
    const { users } = whereOnePrimaryEnds();
    const everybody = users / HOMES.asia;
    expect(needs('asia', everybody * 0.999).clusters).toBe(1);
    expect(needs('asia', everybody * 1.001).clusters).toBe(2);
  });
});

test('an edge’s connections are those of its pools', () => {
  // Three logins for handlers with a pool each, the router's own of four, two to look.
  expect(CAPACITY.connectionsOfAnEdge.value).toBe(3 * DEFAULT_LIMITS.connectionsMax + 4 + 2);
  const pools = read('router/region-database.ts');
  expect(pools).toContain("line === 'watch' ? 2 : login === 'router' ? 4 : connectionsMax");
});

test('the module’s nodes take all the connections of its largest number of edges', () => {
  const variables = read('terraform/variables.tf');
  const byDefault = (name: string) =>
    Number(new RegExp(`\\b${name} += optional\\(number, (\\d+)\\)`).exec(variables)?.[1]);
  const ofEdges = byDefault('max') * CAPACITY.connectionsOfAnEdge.value;
  // Beside them: standbys, airlock, subscriptions, Patroni, an operator.
  expect(byDefault('connections')).toBeGreaterThan(ofEdges + 30);
});
