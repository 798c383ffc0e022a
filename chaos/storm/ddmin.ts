/**
 * Which part of a list is enough?
 *
 * Delta debugging (Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", 2002):
 * tries parts, then what is left without a part, each time of finer parts, until no single item can be
 * left out. Where each try takes minutes, it may be told to stop, and answers with the best so far.
 */

export type Reduced<T> = {
  items: readonly T[];
  tries: number;
  /** No single item can be left out; false when it was stopped before that was known. */
  minimal: boolean;
};

/**
 * `isEnough` is not asked for all items: that they are enough is why somebody calls this. Nor for the
 * same part twice, nor for none.
 */
export async function ddmin<T>(
  all: readonly T[],
  isEnough: (part: readonly T[]) => Promise<boolean>,
  isOver: () => boolean = () => false,
): Promise<Reduced<T>> {
  /** Of parts, by the places of their items. */
  const known = new Map<string, boolean>();
  let tries = 0;
  const enough = async (places: readonly number[]): Promise<boolean> => {
    const key = places.join();
    const before = known.get(key);
    if (before !== undefined) return before;
    tries++;
    const is = await isEnough(places.map((place) => all[place] as T));
    known.set(key, is);
    return is;
  };
  let left = all.map((_, place) => place);
  let parts = 2;
  let minimal = left.length <= 1;
  while (left.length > 1 && !isOver()) {
    const found = await smaller(left, Math.min(parts, left.length), enough, isOver);
    if (found !== undefined) {
      left = found.left;
      parts = Math.max(found.parts, 2);
      minimal = left.length === 1;
      continue;
    }
    if (isOver()) break;
    if (parts >= left.length) {
      minimal = true;
      break;
    }
    parts *= 2;
  }
  return { items: left.map((place) => all[place] as T), tries, minimal };
}

async function smaller(
  left: readonly number[],
  parts: number,
  enough: (places: readonly number[]) => Promise<boolean>,
  isOver: () => boolean,
): Promise<{ left: number[]; parts: number } | undefined> {
  const pieces = Array.from({ length: parts }, (_, i) =>
    left.slice(Math.floor((i * left.length) / parts), Math.floor(((i + 1) * left.length) / parts)),
  );
  for (const piece of pieces) {
    if (isOver()) return undefined;
    if (await enough(piece)) return { left: piece, parts: 2 };
  }
  // Of two parts, each is what is left without the other.
  if (parts === 2) return undefined;
  for (const piece of pieces) {
    if (isOver()) return undefined;
    const rest = left.filter((place) => !piece.includes(place));
    if (await enough(rest)) return { left: rest, parts: parts - 1 };
  }
  return undefined;
}
