/** The one error of the development PKI that a person can do something about; the message says what. */
export class PkiError extends Error {
  override readonly name = "PkiError"
}
