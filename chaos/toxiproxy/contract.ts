/**
 * What does this project ask of a Toxiproxy, built-in or real?
 *
 * One suite, run against whichever server the factory starts. It drives the HTTP API and looks at
 * the connections from outside; nothing in it knows how a server is made.
 */
import { afterAll, afterEach, beforeAll, describe } from 'vitest';
import { apiCases } from './contract/api-cases.ts';
import { clientCases } from './contract/client-cases.ts';
import { effectCases } from './contract/effect-cases.ts';
import { populateCases } from './contract/populate-cases.ts';
import { proxyingCases } from './contract/proxying-cases.ts';
import { Rig } from './contract/rig.ts';
import { toxicCases } from './contract/toxic-cases.ts';

export type Subject = { url: string; stop(): Promise<void> };

export function toxiproxyContract(
  title: string,
  { start, nowMs }: { start(): Promise<Subject>; nowMs(): number },
): void {
  describe(title, () => {
    let subject: Subject | undefined;
    let rig: Rig | undefined;
    const ready = (): Rig => {
      if (rig === undefined) throw new Error('the server has not started');
      return rig;
    };
    beforeAll(async () => {
      subject = await start();
      rig = new Rig(subject.url, nowMs);
    });
    afterEach(() => ready().cleanUp());
    afterAll(() => subject?.stop());

    apiCases(ready);
    populateCases(ready);
    toxicCases(ready);
    proxyingCases(ready);
    effectCases(ready);
    clientCases(ready);
  });
}
