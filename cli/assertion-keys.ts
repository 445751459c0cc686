/**
 * Keys of assertions: made for an operator to put into a secret, or kept in the state directory for the development
 * command. A key file is readable by its owner only and is never replaced.
 */
import { join, resolve } from "node:path"
import { calculateJwkThumbprint, exportJWK, generateKeyPair } from "jose"
import { parseAssertionKey, type AssertionAlgorithm } from "../src/core/assertion-key.ts"
import { createPrivateDirectory, readTextIfPresent, SECRET_MODE, writeNew } from "./pki/files.ts"
import { UsageError } from "./usage-error.ts"

/**
 * Returns a new private JWK as one line of JSON. Without a name of its own it is named by its thumbprint (RFC 7638), so
 * that no two keys share a name.
 */
export async function mintAssertionKey(alg: AssertionAlgorithm, kid?: string): Promise<string> {
  const { privateKey } = await generateKeyPair(alg, { extractable: true })
  const jwk = await exportJWK(privateKey)
  return JSON.stringify({ kid: kid ?? (await calculateJwkThumbprint(jwk)), alg, use: "sig", ...jwk })
}

/** Returns a key for each name of a secret: the one in `<state>/keys`, or a new one that is kept there. */
export async function ensureAssertionKeys(
  names: readonly string[],
  state: string,
): Promise<Readonly<Record<string, string>>> {
  const directory = join(resolve(state), "keys")
  if (names.length > 0) await createPrivateDirectory(directory)
  const secrets: Record<string, string> = {}
  for (const name of names) secrets[name] = await ensureKey(join(directory, `${name}.json`))
  return secrets
}

async function ensureKey(path: string): Promise<string> {
  const kept = await readTextIfPresent(path)
  if (kept !== undefined) {
    const parsed = parseAssertionKey(kept)
    if (parsed.ok) return kept
    throw new UsageError(`${path} holds no usable key (${parsed.reason}). Remove the file; a new key is made.`)
  }
  const minted = await mintAssertionKey("ES256")
  try {
    await writeNew(path, minted, SECRET_MODE)
    return minted
  } catch (error) {
    // Another gateway with the same state was faster: its key is the one that is kept.
    if (error instanceof Error && "code" in error && error.code === "EEXIST") return ensureKey(path)
    throw error
  }
}
