/**
 * An error that the person at the keyboard can mend: printed as it is, without a stack.
 */
export class UsageError extends Error {
  override readonly name = "UsageError"
}
