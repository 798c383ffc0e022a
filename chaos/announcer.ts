/**
 * Who else is told what is done to the system?
 *
 * The consoles of all its edges, so that a person who looks there sees the fault and not only what
 * follows from it. Beside the run: nobody waits for an edge that cannot be told, and no verdict
 * rests on it.
 */
export type Announcement =
  | { kind: 'start'; name: string }
  | { kind: 'fault'; fault: string; what: string; where: readonly string[] }
  | { kind: 'heal'; fault: string }
  | { kind: 'end'; verdict?: string };

export type AnnouncerOptions = {
  /** Of the edges. */
  urls: readonly string[];
  /** What lets an operator in; undefined: there is no console, and nobody is told. */
  token: string | undefined;
  /** Names the run. */
  id: string;
};

/** An edge that is well answers at once; one that is broken is told the next thing in its time. */
const TELL_MS_MAX = 1_000;
/** What an edge takes of a sentence. */
const WORDS_MAX = 300;

export class Announcer {
  readonly #options: AnnouncerOptions;
  /** To each edge one after the other, or an end could come before its beginning. */
  readonly #lines: Map<string, Promise<void>>;

  constructor(options: AnnouncerOptions) {
    this.#options = options;
    const urls = options.token === undefined ? [] : options.urls;
    this.#lines = new Map(urls.map((url) => [url, Promise.resolve()]));
  }

  say(said: Announcement): void {
    for (const [url, before] of this.#lines) {
      this.#lines.set(
        url,
        before.then(() => this.#tell(url, said)),
      );
    }
  }

  /** Everybody was told, or cannot be. */
  async done(): Promise<void> {
    await Promise.all(this.#lines.values());
  }

  async #tell(url: string, said: Announcement): Promise<void> {
    const { id, token } = this.#options;
    const words = 'what' in said ? { ...said, what: said.what.slice(0, WORDS_MAX) } : said;
    try {
      const answer = await fetch(`${url}/console/api/experiments`, {
        method: 'POST',
        headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
        body: JSON.stringify({ id, ...words }),
        signal: AbortSignal.timeout(TELL_MS_MAX),
      });
      await answer.body?.cancel();
    } catch {
      // It is broken, which is what this run is about.
    }
  }
}
