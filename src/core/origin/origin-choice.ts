/**
 * Which URL of an origin a request is sent to, and whether it may be sent again. Pure and total; randomness is an argument.
 */
import { isContentless } from "../message/forwarding.ts"

/** What a choice needs to know of one URL. */
export interface Choosable {
  /** Share of the requests among the URLs that can be asked: an integer from 1. */
  readonly weight: number
  /** Asked only when none of the others can be. */
  readonly isBackup: boolean
}

/**
 * Returns the index of a URL, undefined when none can be asked. Each of those that can gets its share by weight.
 *
 * @param canAsk says of an index whether that URL can be asked now; called at most once for each
 * @param random uniform in [0, 1)
 */
export function chooseUrl(
  urls: readonly Choosable[],
  canAsk: (index: number) => boolean,
  random: number,
): number | undefined {
  return (
    chooseAmong(urls, (index) => urls[index]?.isBackup === false && canAsk(index), random) ??
    chooseAmong(urls, (index) => urls[index]?.isBackup === true && canAsk(index), random)
  )
}

function chooseAmong(
  urls: readonly Choosable[],
  isCandidate: (index: number) => boolean,
  random: number,
): number | undefined {
  const candidates = [...urls.entries()].filter(([index]) => isCandidate(index))
  const total = candidates.reduce((sum, [, { weight }]) => sum + weight, 0)
  let rest = random * total
  for (const [index, { weight }] of candidates) {
    rest -= weight
    if (rest < 0) return index
  }
  // Rounding may leave a rest of nothing.
  return candidates.at(-1)?.[0]
}

/** When requests of an origin are sent again. */
export interface RetryTerms {
  /** How often at most; 0 for never. */
  readonly retriesMax: number
  /** Also PUT and DELETE. */
  readonly hasIdempotent: boolean
  /** Answers that are as good as none. */
  readonly statuses: ReadonlySet<number>
}

/**
 * Returns true for a request that may be sent more than once without doing more: of a safe method, or of an idempotent one
 * where the operator says so, and without content, which is gone once it has been sent. TRACE is not: nobody needs it twice.
 *
 * @see RFC 9110 §9.2.2
 */
export function isRepeatable(method: string, hasContent: boolean, terms: RetryTerms): boolean {
  if (terms.retriesMax === 0 || (hasContent && !isContentless(method))) return false
  if (method === "GET" || method === "HEAD" || method === "OPTIONS") return true
  return terms.hasIdempotent && (method === "PUT" || method === "DELETE")
}
