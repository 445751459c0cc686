/**
 * What is wrong with a body that a client sent: one fault for every member, all of them at once.
 */

/** One fault of a body. `member` is the name of the member, empty for the whole; `detail` what would be accepted. */
export interface Fault {
  readonly member: string
  readonly detail: string
}
