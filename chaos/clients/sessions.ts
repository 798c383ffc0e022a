/**
 * Which tokens does a client send, and which does it keep?
 *
 * The rule for clients of docs/guarantees.md: a set of tokens for each subject, all of them sent, and
 * the ones that were sent replaced by the one that an answer brings. Two clients may hold the same
 * sessions, so their requests run at once and their answers come in any order.
 */
export class TokenSet {
  /** In the history. */
  readonly session: number;
  #tokens = new Set<string>();

  constructor(session: number) {
    this.session = session;
  }

  get sent(): readonly string[] {
    return [...this.#tokens];
  }

  answered(sent: readonly string[], brought: string | undefined): void {
    if (brought === undefined) return;
    for (const token of sent) this.#tokens.delete(token);
    this.#tokens.add(brought);
  }
}

/** The sessions of one client, or of clients who share them: one for each subject. */
export class Sessions {
  readonly #begin: () => number;
  readonly #of = new Map<string, TokenSet>();

  /** `begin` draws a number that no other session has. */
  constructor(begin: () => number) {
    this.#begin = begin;
  }

  of(subject: string): TokenSet {
    const known = this.#of.get(subject);
    if (known !== undefined) return known;
    const tokens = new TokenSet(this.#begin());
    this.#of.set(subject, tokens);
    return tokens;
  }

  /** The next operation on this subject has seen nothing. */
  forget(subject: string): void {
    this.#of.delete(subject);
  }
}
