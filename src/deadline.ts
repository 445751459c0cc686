/**
 * A bound on waiting: for answers that are worth nothing when they come late.
 */

/** What {@link withDeadline} gives when time is up. */
export const LATE = Symbol("late")

/**
 * Returns what the promise gives, or {@link LATE} after `timeoutMs`. The promise is not cancelled; its late answer, or its
 * late failure, is dropped.
 */
export async function withDeadline<T>(promise: Promise<T>, timeoutMs: number): Promise<T | typeof LATE> {
  let timer: number | null = null
  try {
    return await Promise.race([
      promise,
      new Promise<typeof LATE>((resolve) => {
        timer = setTimeout(() => resolve(LATE), timeoutMs)
      }),
    ])
  } finally {
    clearTimeout(timer)
  }
}
