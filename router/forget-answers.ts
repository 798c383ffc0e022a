/**
 * When does a kept answer go?
 *
 * After the policy's `idempotency.retention` it counts as absent, and soon after it is gone: every
 * edge asks its primary now and then to remove what is old, some rows at a time, so that no
 * transaction is long. Edges that ask at the same moment pass over each other's rows.
 */
import type { Policy } from '../policies/policy.ts';
import type { Sql } from '../regions/postgres.ts';

export type ForgetAnswersOptions = {
  /** Runs a statement on the region's primary, as the router. */
  onPrimary: <T>(query: (sql: Sql) => Promise<T>, timeoutMs: number) => Promise<T>;
  /** The policy in force now. */
  policy: () => Policy;
};

/** Short against the least retention that a policy may ask for, which is a minute. */
const EVERY_MS = 10_000;
/** Some milliseconds of work. */
const ROWS_AT_ONCE_MAX = 500;
/** More than ten thousand answers a second expire only where there are many edges. */
const BATCHES_MAX = 200;
const BATCH_MS_MAX = 2_000;

export class ForgetAnswers {
  #options: ForgetAnswersOptions;
  #timer: NodeJS.Timeout | undefined;
  #turn: Promise<void> | undefined;
  #stopped = false;

  constructor(options: ForgetAnswersOptions) {
    this.#options = options;
  }

  start(): void {
    if (this.#stopped) return;
    this.#timer = setTimeout(() => {
      this.#turn = this.#forget().finally(() => this.start());
    }, EVERY_MS);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    await this.#turn;
  }

  async #forget(): Promise<void> {
    const { onPrimary, policy } = this.#options;
    const { retentionMs } = policy().idempotency;
    try {
      for (let batch = 0; batch < BATCHES_MAX && !this.#stopped; batch++) {
        const [row] = await onPrimary(
          (sql) => sql<{ gone: number }[]>`
            select domicile.forget_answers(${retentionMs}, ${ROWS_AT_ONCE_MAX}) as gone`,
          BATCH_MS_MAX,
        );
        if ((row?.gone ?? 0) < ROWS_AT_ONCE_MAX) return;
      }
    } catch {
      // What is old counts as absent all the same; the next turn tries again.
    }
  }
}
