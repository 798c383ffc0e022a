/**
 * Where is a region drawn?
 *
 * Where its catalogue says it is. A catalogue need not say, and then its regions stand in a row, in
 * their order, at a latitude where none of them looks more important than another.
 */
import type { Catalogue, RegionId } from '../../regions/catalogue.ts';

export type Place = { latitude: number; longitude: number };

/** The row lies between these meridians. */
const WEST = -120;
const EAST = 120;
const ROW_LATITUDE = 30;

export function placesOf({ regions }: Catalogue): Map<RegionId, Place> {
  const unplaced = [...regions.values()].filter(({ place }) => place === undefined);
  const step = (EAST - WEST) / Math.max(1, unplaced.length - 1);
  return new Map(
    [...regions.values()].map((region) => {
      const longitude = unplaced.length === 1 ? 0 : WEST + step * unplaced.indexOf(region);
      return [region.id, region.place ?? { latitude: ROW_LATITUDE, longitude }];
    }),
  );
}
