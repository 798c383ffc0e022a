/**
 * Whom and what does the sample data hold?
 *
 * Users, where they live and what they ordered, all of it following from one number: the same
 * seed gives the same users and orders everywhere. Who is at home where, what an order costs and
 * when it was placed are not decided here; the policy and the edges do that. More orders of one
 * seed begin with the same ones, so a smaller load can be grown into a larger one.
 */
import { type Area, COUNTRIES, type Country } from './population.ts';
import { drawOne, seededRandom, shuffle, weightedDraw } from './seeded-random.ts';

export type SeedSize = { users: number; orders: number; seed: number };

export type SeedUser = {
  id: string;
  displayName: string;
  email: string;
  country: string;
  area: Area;
  /** In [0, 1): at which of the edges this user happens to sign up. */
  edgeDraw: number;
  /** In the order in which they are placed. */
  orders: readonly SeedOrder[];
};

export type SeedOrder = {
  items: readonly { product: string; quantity: number }[];
  /** What becomes of the order once it is placed. */
  changes: readonly Status[];
  /** Placed where the user signed up, wherever that was; the others are placed near home. */
  travelling: boolean;
};

export type Status = 'paid' | 'shipped' | 'cancelled';

/** Every product of schema.sql, the best sellers first. */
export const PRODUCTS = [
  'notebook-a5',
  'candle-beeswax',
  'pencil-set',
  'cup-enamel',
  'jar-glass',
  'bowl-stoneware',
  'towel-bath',
  'kettle-steel',
  'cushion-cotton',
  'pen-fountain',
  'lamp-brass',
  'hook-brass',
  'vase-clay',
  'knife-kitchen',
  'doormat-coir',
  'broom-birch',
  'basket-willow',
  'blanket-wool',
  'board-walnut',
  'teapot-iron',
  'grinder-coffee',
  'apron-linen',
  'clock-wall',
  'stool-beech',
  'blotter-leather',
  'pan-copper',
  'shelf-pine',
  'rug-jute',
  'chair-oak',
  'ladder-ash',
] as const;

const ITEMS_MAX = 5;
/** One item is the most usual order; five are rare. */
const ITEM_COUNT_WEIGHTS = [45, 27, 15, 8, 5];
const QUANTITY_WEIGHTS = [75, 17, 8];
const TRAVELLING_SHARE = 1 / 8;
/** What becomes of an order. Most of them stay as placed. */
const FATES: readonly (readonly Status[])[] = [[], ['paid'], ['paid', 'shipped'], ['cancelled']];
const FATE_WEIGHTS = [94, 3, 2, 1];

/** Given and family names of many languages; who bears which is drawn without regard to country. */
const GIVEN_NAMES = `Aiko Amina Ana Anders Aroha Aylin Bao Chidi Chloe Daniel Elena Emeka Fatima
  Freya Giulia Hana Hassan Ines Ivan Jamal Jin Joao Kaveh Kofi Lakshmi Leila Liam Linh Lucia Malia
  Marek Maria Mateo Mei Minh Nadia Naledi Noah Olga Omar Priya Rahul Rosa Sanjay Sofia Tariq Tomas
  Wanjiru Yusuf Zeynep`.split(/\s+/);
const FAMILY_NAMES = `Abebe Adeyemi Andersen Banda Chen Costa Demir Dubois Fernandez Garcia Haddad
  Hoang Hossain Ito Ivanova Jensen Kamau Khan Kim Kovacs Kowalski Kumar Lee Lopez Mbeki Mendoza
  Moreau Muller Mwangi Nakamura Ngata Nguyen Novak Okafor Osei Park Patel Popescu Rahman Rossi Santos
  Schmidt Silva Singh Smith Tanaka Tran Wang Yilmaz Zhang`.split(/\s+/);

/** One stream of numbers for each thing that is drawn. */
const STREAM = { countries: 1, names: 2, edges: 3, eagerness: 4, buyers: 5, orders: 6 } as const;

export function seedData({ users, orders, seed }: SeedSize): SeedUser[] {
  const countries = countriesOf(users, seed);
  const ordersOf = ordersOfUsers(users, orders, seed);
  const names = seededRandom(seed, STREAM.names);
  const edges = seededRandom(seed, STREAM.edges);
  return countries.map(({ code, area }, index) => {
    const id = `user-${String(index + 1).padStart(5, '0')}`;
    const displayName = `${drawOne(names, GIVEN_NAMES)} ${drawOne(names, FAMILY_NAMES)}`;
    return {
      id,
      displayName,
      email: `${id}@example.org`,
      country: code,
      area,
      edgeDraw: edges(),
      orders: ordersOf[index] ?? [],
    };
  });
}

/**
 * As many users of each country as its share of the people gives it, by largest remainder
 * (Hamilton's method), so that no count is off by one user or more; then shuffled.
 */
function countriesOf(users: number, seed: number): Country[] {
  const people = COUNTRIES.reduce((sum, { millions }) => sum + millions, 0);
  const quotas = COUNTRIES.map((country) => ({
    country,
    exact: (users * country.millions) / people,
  }));
  const counts = new Map(quotas.map(({ country, exact }) => [country, Math.floor(exact)]));
  let left = users - [...counts.values()].reduce((sum, count) => sum + count, 0);
  for (const { country } of quotas.toSorted((a, b) => (b.exact % 1) - (a.exact % 1))) {
    if (left-- <= 0) break;
    counts.set(country, (counts.get(country) ?? 0) + 1);
  }
  const drawn = [...counts].flatMap(([country, count]) => Array<Country>(count).fill(country));
  shuffle(seededRandom(seed, STREAM.countries), drawn);
  return drawn;
}

/**
 * Some users order far more often than others: their eagerness has a Pareto distribution with
 * exponent 2, where the most eager tenth place about three in ten of all orders.
 */
function ordersOfUsers(users: number, orders: number, seed: number): SeedOrder[][] {
  const eagerness = seededRandom(seed, STREAM.eagerness);
  const buyer = weightedDraw(Array.from({ length: users }, () => 1 / Math.sqrt(1 - eagerness())));
  const buyers = seededRandom(seed, STREAM.buyers);
  const newOrder = orderMaker(seed);
  const ordersOf = Array.from({ length: users }, (): SeedOrder[] => []);
  for (let i = 0; i < orders; i++) ordersOf[buyer(buyers)]?.push(newOrder());
  return ordersOf;
}

function orderMaker(seed: number): () => SeedOrder {
  const random = seededRandom(seed, STREAM.orders);
  const itemCount = weightedDraw(ITEM_COUNT_WEIGHTS.slice(0, ITEMS_MAX));
  const quantity = weightedDraw(QUANTITY_WEIGHTS);
  const fate = weightedDraw(FATE_WEIGHTS);
  // Zipf's law: the second sells half as often as the first, the third a third as often.
  const product = weightedDraw(PRODUCTS.map((_, rank) => 1 / (rank + 1)));
  return () => {
    const count = itemCount(random) + 1;
    const chosen = new Set<string>();
    while (chosen.size < count) {
      const one = PRODUCTS[product(random)];
      if (one !== undefined) chosen.add(one);
    }
    return {
      items: [...chosen].map((one) => ({ product: one, quantity: quantity(random) + 1 })),
      changes: FATES[fate(random)] ?? [],
      travelling: random() < TRAVELLING_SHARE,
    };
  };
}
