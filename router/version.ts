/** Which version is this? Kept equal to `package.json` by a test, because a built file lies elsewhere. */
export const VERSION = '0.1.0';
