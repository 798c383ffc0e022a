/** Who reads and writes all over a world while something is done to it? */
import { setTimeout as pause } from 'node:timers/promises';
import { Client, LAMP, type TestDomicile } from './world-for-tests.ts';

export type Traffic = {
  requests(): number;
  /** Ends it; answers with everything above 499. */
  end(): Promise<string[]>;
};

/** Between two requests of one client: a loop without it takes the processors from what it watches. */
const PAUSE_MS = 15;

/** Clients of a user whose home is us; cards and products are read in other regions too. */
export function traffic(domicile: TestDomicile, user: string): Traffic {
  let ending = false;
  let count = 0;
  const bad: string[] = [];
  const say = async (to: string, method: string, path: string, body?: unknown) => {
    const client = new Client(domicile);
    while (!ending) {
      const { status, text } = await client.call(to, method, path, body);
      count++;
      if (status >= 500) bad.push(`${method} ${path} in ${to}: ${status} ${text}`);
      await pause(PAUSE_MS);
    }
  };
  const clients = [
    say('eu', 'GET', `/users/${user}/card`),
    say('asia', 'GET', `/users/${user}/card`),
    say('us', 'GET', `/users/${user}/card`),
    say('eu', 'GET', '/products'),
    say('us', 'POST', `/users/${user}/orders`, LAMP),
  ];
  return {
    requests: () => count,
    async end() {
      ending = true;
      await Promise.all(clients);
      return bad;
    },
  };
}
