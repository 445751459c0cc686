/**
 * What happens next in a simulated world: actions in order of time, and in order of entry at the same millisecond.
 */

interface Entry {
  readonly atMs: number
  readonly order: number
  readonly action: () => void
}

/** A queue of actions in virtual time. */
export class Schedule {
  readonly #heap: Entry[] = []
  #entries = 0

  /** Adds an action. */
  at(atMs: number, action: () => void): void {
    const entry: Entry = { atMs, order: this.#entries++, action }
    const heap = this.#heap
    let index = heap.push(entry) - 1
    while (index > 0) {
      const parent = (index - 1) >> 1
      const above = heap[parent]
      if (above === undefined || isBefore(above, entry)) break
      heap[index] = above
      index = parent
    }
    heap[index] = entry
  }

  /** Removes and returns the next action, or undefined when there is none. */
  take(): { readonly atMs: number; readonly action: () => void } | undefined {
    const heap = this.#heap
    const first = heap[0]
    const last = heap.pop()
    if (first === undefined || last === undefined || heap.length === 0) return first
    let index = 0
    for (;;) {
      const left = 2 * index + 1
      const right = left + 1
      const leftEntry = heap[left]
      if (leftEntry === undefined) break
      const rightEntry = heap[right]
      const isRight = rightEntry !== undefined && isBefore(rightEntry, leftEntry)
      const child = isRight ? rightEntry : leftEntry
      if (isBefore(last, child)) break
      heap[index] = child
      index = isRight ? right : left
    }
    heap[index] = last
    return first
  }
}

function isBefore(a: Entry, b: Entry): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order)
}
