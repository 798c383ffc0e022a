/**
 * Who moves the primary of one region?
 *
 * The keeper that comes with Domicile does it on servers of its own; elsewhere Patroni or a managed
 * service does, and is followed. All of them sit in this seat, so that whoever asks what a region
 * looks like, or wants its primary elsewhere, need not know which.
 */
import type { Lsn } from '../../regions/position.ts';
import type { Role } from '../../regions/sighting.ts';

export type Steward = {
  /** What the region looks like from here, now. Never rejects: a silent node says so. */
  observe(): Promise<RegionView>;
  /**
   * Makes `node` the primary. `from` is the timeline that it must still follow: a promotion ends
   * that timeline, so whoever comes late with the same wish changes nothing.
   */
  promote(node: string, from: { timeline: number }): Promise<StewardOutcome>;
  /** Takes the primary out of service cleanly: what it has written reaches its standbys first. */
  demote(node: string): Promise<StewardOutcome>;
  /** Makes `node` a standby of `primary`, by whatever copy that takes. */
  follow(node: string, primary: string): Promise<StewardOutcome>;
};

export type RegionView = { nodes: readonly NodeView[] };

export type NodeView =
  /** `why`: what is wrong with TLS there, in words. */
  | { node: string; kind: 'silent'; because: Silence; why?: string }
  | {
      node: string;
      kind: 'seen';
      role: Role;
      systemId: bigint;
      timeline: number;
      /** Flushed on a primary, received and flushed on a replica. */
      lsn: Lsn;
    };

/**
 * `refused`: its machine says that nobody listens. `frozen`: its machine takes connections, and the
 * server says nothing. `no_answer`: not even the machine does. `starting`: it takes none yet.
 */
export type Silence = 'refused' | 'frozen' | 'no_answer' | 'starting';

export type StewardOutcome =
  | { kind: 'done' }
  /** Nothing was changed; `why` is a sentence for an operator. */
  | { kind: 'refused'; why: string }
  /** It may have happened or not: look before anything else is done. */
  | { kind: 'unknown'; why: string };

export function refused(why: string): StewardOutcome {
  return { kind: 'refused', why };
}
