/**
 * Under which name does every node of a region keep the log that the archive lacks?
 */
export const ARCHIVE_SLOT = 'domicile_archive';
