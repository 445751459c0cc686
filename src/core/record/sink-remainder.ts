/**
 * What of a message of the queue is still to be delivered after its sinks have been asked, and how. Pure; called by `observe/sink.ts`.
 *
 * The message itself comes again when everything in it is left for every sink. Otherwise what is left goes back to the queue as messages
 * of its own, each for one sink, and smaller than the one before: so no sink gets twice what it has, a record that nobody takes ends alone in
 * the dead-letter queue, and the row of ever smaller messages has an end.
 */

/** Records of one message that a sink does not have yet. */
export interface Leftover<R> {
  readonly records: readonly R[]
  readonly reason: string
  /** Undefined: as the queue does. */
  readonly delaySeconds: number | undefined
  /** The sink asked for patience, will not take anything now, or finds fault with this very record, which goes alone then. */
  readonly kind: "retry" | "rejected" | "poison"
}

/** What became of a message at one sink. */
export interface SinkResult<R> {
  readonly sink: string
  /** How many records of the message the sink was to get. */
  readonly offered: number
  readonly left: readonly Leftover<R>[]
}

/** What happens to a message of the queue. */
export type Settlement<R> =
  | { readonly kind: "done" }
  /** Comes again as it is. */
  | { readonly kind: "again"; readonly delaySeconds: number | undefined }
  /** Is replaced by these. */
  | {
      readonly kind: "replaced"
      readonly by: readonly {
        readonly sink: string
        readonly records: readonly R[]
        readonly delaySeconds: number | undefined
      }[]
    }

/** Decides on a message. Of several delays the longest counts: a sink that asked for patience gets it. */
export function settleMessage<R>(results: readonly SinkResult<R>[]): Settlement<R> {
  const leftovers = results.flatMap(({ left }) => left)
  if (leftovers.length === 0) return { kind: "done" }
  const isWhole = results.every(
    ({ left, offered }) => offered === 0 || (left.length === 1 && left[0]?.records.length === offered),
  )
  if (!isWhole) {
    return {
      kind: "replaced",
      by: results.flatMap(({ left, sink }) =>
        left.map(({ delaySeconds, records }) => ({ sink, records, delaySeconds })),
      ),
    }
  }
  const delays = leftovers.flatMap(({ delaySeconds }) => delaySeconds ?? [])
  return { kind: "again", delaySeconds: delays.length === 0 ? undefined : Math.max(...delays) }
}

/** Returns leftovers with those joined that are left for the same reason; poisonous records stay apart. */
export function joinLeftovers<R>(left: readonly Leftover<R>[]): readonly Leftover<R>[] {
  const joined: Leftover<R>[] = []
  for (const leftover of left) {
    const index = joined.findIndex(
      ({ kind, reason }) => kind !== "poison" && kind === leftover.kind && reason === leftover.reason,
    )
    const known = joined[index]
    if (known === undefined) joined.push(leftover)
    else joined[index] = { ...known, records: [...known.records, ...leftover.records] }
  }
  return joined
}
