/**
 * Bounded memories of an isolate: what comes from outside must not fill it up.
 */

/** Remembers a value under a key. Beyond `max` entries the one that came first is forgotten; a key keeps its place. */
export function remember<Key, Value>(memory: Map<Key, Value>, key: Key, value: Value, max: number): void {
  if (!memory.has(key) && memory.size >= max) {
    const [oldest] = memory.keys()
    if (oldest !== undefined) memory.delete(oldest)
  }
  memory.set(key, value)
}
