/**
 * The subject key identifier of every development CA, lower-case hex: the text "sekisho-development-".
 *
 * RFC 5280 §4.2.1.2 leaves its making to the CA. A fixed one lets the sample configuration name the CA of a machine before
 * that machine has made it; what is trusted is the CA's key, which is made there and differs everywhere.
 */
export const DEVELOPMENT_SKI = "73656b6973686f2d646576656c6f706d656e742d"
