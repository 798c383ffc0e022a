/**
 * How does a keeper ask the machine that its servers run on to start, end or copy one?
 *
 * Over HTTP on loopback, where the supervisor of the local world listens
 * (`regions/local/machine-server.ts`). A copy takes as long as the data is large, so orders have a
 * long limit and nobody waits for them who has something else to do.
 */
import type { StewardOutcome } from './steward.ts';

export type Machine = {
  /** What is known of each server's process; empty where nobody answers. */
  processes(): Promise<ReadonlyMap<string, 'runs' | 'ended'>>;
  start(node: string): Promise<StewardOutcome>;
  halt(node: string): Promise<StewardOutcome>;
  follow(
    node: string,
    how: { primary: string; copy: boolean; keepData: boolean },
  ): Promise<StewardOutcome>;
};

const QUESTION_MS_MAX = 500;
/** Ending a server takes up to half a minute by force, and copying one as long as its data. */
const ORDER_MS_MAX = 600_000;

export function machineAt(url: string, region: string, token: string): Machine {
  const headers = { authorization: `Bearer ${token}` };
  const order = async (node: string, act: string, body: object): Promise<StewardOutcome> => {
    try {
      const response = await fetch(`${url}/${region}/${node}/${act}`, {
        method: 'POST',
        headers,
        body: JSON.stringify(body),
        signal: AbortSignal.timeout(ORDER_MS_MAX),
      });
      if (response.ok) return { kind: 'done' };
      const { why } = (await response.json()) as { why?: string };
      return { kind: 'refused', why: why ?? `its machine answered ${response.status}` };
    } catch (error) {
      return { kind: 'unknown', why: `its machine did not answer (${causeOf(error)})` };
    }
  };
  return {
    async processes() {
      try {
        const response = await fetch(`${url}/${region}`, {
          headers,
          signal: AbortSignal.timeout(QUESTION_MS_MAX),
        });
        const said = (await response.json()) as Record<string, 'runs' | 'ended'>;
        return new Map(response.ok ? Object.entries(said) : []);
      } catch {
        return new Map();
      }
    },
    start: (node) => order(node, 'start', {}),
    halt: (node) => order(node, 'halt', {}),
    follow: (node, how) => order(node, 'follow', how),
  };
}

/** No machine at all: servers that somebody else starts and ends. */
export const NO_MACHINE: Machine = {
  processes: async () => new Map(),
  start: async () => ({ kind: 'refused', why: 'this keeper has no access to the machine' }),
  halt: async () => ({ kind: 'refused', why: 'this keeper has no access to the machine' }),
  follow: async () => ({ kind: 'refused', why: 'this keeper has no access to the machine' }),
};

function causeOf(error: unknown): string {
  const cause = error instanceof Error ? (error.cause ?? error) : error;
  return (cause as NodeJS.ErrnoException).code ?? (cause as Error).name;
}
