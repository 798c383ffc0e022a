/** Which numbers follow from a seed? The same ones each time, in [0, 1): enough to roll dice. */
export function seededRandom(seed: number): () => number {
  // A Weyl sequence through the 32-bit finaliser of MurmurHash3.
  let state = seed >>> 0;
  return () => {
    state = (state + 0x9e37_79b9) >>> 0;
    let mixed = state;
    mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85eb_ca6b);
    mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2_ae35);
    return ((mixed ^ (mixed >>> 16)) >>> 0) / 2 ** 32;
  };
}
