/**
 * Who is there when clients begin, and which text marks whose data?
 *
 * The ids, countries and marks of the witness app's users. The home of a country and the ways of its
 * data are those of `examples/witness/residency.yaml`, stated here a second time: who asks the
 * policy where something belongs cannot find out that it is elsewhere.
 */

export type Subject = { id: string; home: string; country: string };

/** A text that lies in every row of one home, and the other regions that may hold such rows. */
export type Mark = { text: string; home: string; copies: readonly string[] };

type Home = { country: string; copies: readonly string[] };

const HOMES: Readonly<Record<string, Home>> = {
  us: { country: 'US', copies: ['eu', 'asia'] },
  eu: { country: 'DE', copies: [] },
  asia: { country: 'JP', copies: ['us', 'eu'] },
};

const RUN = /^[a-z0-9-]{1,16}$/;

export class Population {
  /** Those who are created before anything else; the homes take turns. */
  readonly first: readonly Subject[];
  readonly #run: string;
  readonly #homes: readonly string[];

  /** @throws RangeError for a run or a region that no id can be made of. */
  constructor(run: string, regions: Iterable<string>, subjectsPerHome: number) {
    if (!RUN.test(run)) throw new RangeError(`"${run}" does not name a run: ${RUN}`);
    this.#run = run;
    this.#homes = [...regions];
    for (const region of this.#homes) homeNamed(region);
    this.first = Array.from({ length: subjectsPerHome }, (_, at) => at).flatMap((at) =>
      this.#homes.map((home) => this.#subject(home, String(at))),
    );
  }

  /** Somebody whom a client creates on its way. */
  newcomer(client: number, number: number): Subject {
    const home = this.#homes[(client + number) % this.#homes.length] ?? '';
    return this.#subject(home, `c${client}-${number}`);
  }

  /** In every row but notices: nobody but the home holds it. */
  privateMark(home: string): Mark {
    return { text: `canary-${home}-${this.#run}-private`, home, copies: [] };
  }

  /** In notices. */
  noticeMark(home: string): Mark {
    const copies = homeNamed(home).copies.filter((region) => this.#homes.includes(region));
    return { text: `canary-${home}-${this.#run}-notice`, home, copies };
  }

  marks(): Mark[] {
    return this.#homes.flatMap((home) => [this.privateMark(home), this.noticeMark(home)]);
  }

  #subject(home: string, name: string): Subject {
    return { id: `${this.#run}-${home}-${name}`, home, country: homeNamed(home).country };
  }
}

function homeNamed(region: string): Home {
  const home = HOMES[region];
  if (home !== undefined) return home;
  throw new RangeError(`the witness has nobody at home in "${region}"; it knows us, eu and asia`);
}
