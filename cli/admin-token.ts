/**
 * The administrators' secret of the development command: made once, kept in the state directory, readable by its owner only.
 */
import { randomBytes } from "node:crypto"
import { link, rm } from "node:fs/promises"
import { join, resolve } from "node:path"
import { readAdminSecret } from "../src/core/admin.ts"
import { ADMIN_TOKEN_BYTES_MIN } from "../src/core/bounds.ts"
import { createPrivateDirectory, readTextIfPresent, SECRET_MODE, writeNew } from "./pki/files.ts"
import { UsageError } from "./usage-error.ts"

/** Returns the path of the file that holds the secret of that name. */
export function adminTokenPath(name: string, state: string): string {
  return join(resolve(state), "keys", name)
}

/** Returns the secret of that name: the one that is kept, or a new one. Its file has no line feed, so that a shell can insert it. */
export async function ensureAdminToken(name: string, state: string): Promise<string> {
  const path = adminTokenPath(name, state)
  await createPrivateDirectory(join(resolve(state), "keys"))
  const kept = await readTextIfPresent(path)
  if (kept !== undefined) {
    if (readAdminSecret(kept).ok) return kept
    throw new UsageError(
      `${path} holds no secret of at least 32 octets in base64url. Remove the file; a new one is made.`,
    )
  }
  const minted = randomBytes(ADMIN_TOKEN_BYTES_MIN).toString("base64url")
  const temporary = `${path}.${randomBytes(8).toString("hex")}.tmp`
  try {
    // Written first and named then: nobody reads half of it, and what has the name already stays.
    await writeNew(temporary, minted, SECRET_MODE)
    await link(temporary, path)
    return minted
  } catch (error) {
    // Another gateway with the same state was faster.
    if (error instanceof Error && "code" in error && error.code === "EEXIST") return ensureAdminToken(name, state)
    throw error
  } finally {
    await rm(temporary, { force: true })
  }
}
