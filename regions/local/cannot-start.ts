/**
 * What does a person read when the local world cannot start?
 *
 * Everything thrown on purpose by this directory is of this class: its message is meant for a
 * terminal, complete without a stack. Anything else that is thrown is a bug.
 */
export class CannotStart extends Error {
  override name = 'CannotStart';
}
