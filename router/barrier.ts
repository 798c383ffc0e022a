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

/** The commit failed, or nobody can know: the server may have been replaced. */
export type NotConfirmed = { kind: 'not_confirmed' };

export type Confirmation =
  | { kind: 'confirmed'; at: Acknowledgement }
  | NotConfirmed
  /** Commits of this server wait for no standby, so they prove nothing. */
  | { kind: 'not_synchronous' };

/** Also for a question in place of a commit, where `T` is what is answered. */
export class Barrier<T extends { kind: string }> {
  #commit: () => Promise<T | NotConfirmed>;
  #running: Promise<T | NotConfirmed> | undefined;
  #next: Promise<T | NotConfirmed> | undefined;
  #commits = 0;

  /** `commit` has a deadline of its own, and never rejects. */
  constructor(commit: () => Promise<T | NotConfirmed>) {
    this.#commit = commit;
  }

  /** How many commits there were, however many asked. */
  get commits(): number {
    return this.#commits;
  }

  /** Resolves within `timeoutMs`. What was read before the call is confirmed with it. */
  confirm(timeoutMs: number): Promise<T | NotConfirmed> {
    const barrier = this.#running === undefined ? this.#begin() : this.#follow(this.#running);
    const late = Promise.withResolvers<NotConfirmed>();
    const timer = setTimeout(() => late.resolve({ kind: 'not_confirmed' }), timeoutMs);
    return Promise.race([barrier, late.promise]).finally(() => clearTimeout(timer));
  }

  #begin(): Promise<T | NotConfirmed> {
    this.#commits++;
    const running = this.#commit().finally(() => {
      if (this.#running === running) this.#running = undefined;
    });
    this.#running = running;
    return running;
  }

  #follow(running: Promise<T | NotConfirmed>): Promise<T | NotConfirmed> {
    this.#next ??= running.then(() => {
      this.#next = undefined;
      return this.#begin();
    });
    return this.#next;
  }
}
