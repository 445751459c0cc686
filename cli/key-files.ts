/**
 * Keys of the development command, kept in the state directory: made once, readable by their owner only, never replaced.
 */
import { join, resolve } from "node:path"
import { createPrivateDirectory, readTextIfPresent, SECRET_MODE, writeNew } from "./pki/files.ts"
import { UsageError } from "./usage-error.ts"

/** How keys of one kind are made and judged. */
export interface KeyKind {
  readonly mint: () => Promise<string>
  readonly parse: (text: string) => { readonly ok: true } | { readonly ok: false; readonly reason: string }
}

/** Returns a key for each name of a secret: the one in `<state>/keys`, or a new one that is kept there. */
export async function ensureKeys(
  names: readonly string[],
  state: string,
  kind: KeyKind,
): Promise<Readonly<Record<string, string>>> {
  const directory = join(resolve(state), "keys")
  if (names.length > 0) await createPrivateDirectory(directory)
  const secrets: Record<string, string> = {}
  for (const name of names) secrets[name] = await ensureKey(join(directory, `${name}.json`), kind)
  return secrets
}

async function ensureKey(path: string, kind: KeyKind): Promise<string> {
  const kept = await readTextIfPresent(path)
  if (kept !== undefined) {
    const parsed = kind.parse(kept)
    if (parsed.ok) return kept
    throw new UsageError(`${path} holds no usable key (${parsed.reason}). Remove the file; a new key is made.`)
  }
  const minted = await kind.mint()
  try {
    await writeNew(path, minted, SECRET_MODE)
    return minted
  } catch (error) {
    // Another gateway with the same state was faster: its key is the one that is kept.
    if (error instanceof Error && "code" in error && error.code === "EEXIST") return ensureKey(path, kind)
    throw error
  }
}
