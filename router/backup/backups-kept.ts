/**
 * How many usable base backups does a region keep, unless told otherwise?
 */
export const BACKUPS_KEPT = 2;
