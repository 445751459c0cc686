/**
 * Takes changes over while the gateway runs on one machine: of its configuration, its sources and the revocation list.
 */
import { watch, type FSWatcher } from "node:fs"
import { basename, dirname, join } from "node:path"
import type { Notice } from "./edge-notices.ts"

/** How long nothing may change before a change counts as whole, in ms. */
const SETTLING_MS = 200

/** Watches the configuration file and the Worker's sources; a change that does not hold keeps what runs. */
export function watchSources(
  file: string,
  reload: () => Promise<void>,
  onNotice: (notice: Notice) => void,
): readonly FSWatcher[] {
  const schedule = settle(reload, "configuration and sources taken over", onNotice)
  const root = dirname(file)
  return [
    watchFile(file, schedule),
    ...["src", "durable-objects"].flatMap((folder) => {
      try {
        return [watch(join(root, folder), { recursive: true }, schedule)]
      } catch {
        return []
      }
    }),
  ]
}

/** Watches the revocation list, which `sekisho pki revoke` replaces. */
export function watchList(path: string, take: () => Promise<void>, onNotice: (notice: Notice) => void): FSWatcher {
  return watchFile(path, settle(take, "revocation list taken over", onNotice))
}

/** The directory, not the file: whoever writes a file as a whole puts a new one in the place of the old one. */
function watchFile(path: string, onChange: () => void): FSWatcher {
  return watch(dirname(path), (_, name) => {
    if (name === null || name === basename(path)) onChange()
  })
}

/** Returns what runs `take` once changes have settled, one run after the other, and tells how it went. */
function settle(take: () => Promise<void>, done: string, onNotice: (notice: Notice) => void): () => void {
  let timer: NodeJS.Timeout | undefined
  let running = Promise.resolve()
  return () => {
    clearTimeout(timer)
    timer = setTimeout(() => {
      running = running.then(take).then(
        () => onNotice({ level: "info", text: done }),
        (error: unknown) =>
          onNotice({
            level: "error",
            text: `kept the running version: ${error instanceof Error ? error.message : String(error)}`,
          }),
      )
    }, SETTLING_MS)
  }
}
