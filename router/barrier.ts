/**
 * Is this server still the primary?
 *
 * One that was replaced without knowing it answers reads as before; what it cannot do is commit,
 * because nobody confirms. So a transactional message is committed and its clean acknowledgement is
 * the proof: the server was the primary while the commit was under way, and all that it had
 * acknowledged before is visible. The message must be transactional; one that is not proves nothing.
 *
 * Those who ask while a barrier is under way share the next one: it begins after they have asked.
 */
import type { Acknowledgement } from '../regions/sighting.ts';

export type Confirmation =
  | { kind: 'confirmed'; at: Acknowledgement }
  /** The commit failed, or nobody can know: the server may have been replaced. */
  | { kind: 'not_confirmed' }
  /** Commits of this server wait for no standby, so they prove nothing. */
  | { kind: 'not_synchronous' };

export class Barrier {
  #commit: () => Promise<Confirmation>;
  #running: Promise<Confirmation> | undefined;
  #next: Promise<Confirmation> | undefined;
  #commits = 0;

  /** `commit` has a deadline of its own, and never rejects. */
  constructor(commit: () => Promise<Confirmation>) {
    this.#commit = commit;
  }

  /** How many commits there were, however many asked. */
  get commits(): number {
    return this.#commits;
  }

  /** Resolves within `timeoutMs`. What was read before the call is confirmed with it. */
  confirm(timeoutMs: number): Promise<Confirmation> {
    const barrier = this.#running === undefined ? this.#begin() : this.#follow(this.#running);
    const late = Promise.withResolvers<Confirmation>();
    const timer = setTimeout(() => late.resolve({ kind: 'not_confirmed' }), timeoutMs);
    return Promise.race([barrier, late.promise]).finally(() => clearTimeout(timer));
  }

  #begin(): Promise<Confirmation> {
    this.#commits++;
    const running = this.#commit().finally(() => {
      if (this.#running === running) this.#running = undefined;
    });
    this.#running = running;
    return running;
  }

  #follow(running: Promise<Confirmation>): Promise<Confirmation> {
    this.#next ??= running.then(() => {
      this.#next = undefined;
      return this.#begin();
    });
    return this.#next;
  }
}
