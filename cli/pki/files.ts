/**
 * How the development PKI touches the disk. Promises: a reader sees an old file or a new one, never half of one; a file
 * with a key in it is readable by its owner only, from its first byte on; what must not be replaced is not replaced, not
 * even by two processes at once.
 */
import { randomBytes } from "node:crypto"
import { chmod, mkdir, open, readFile, rename, rm, stat } from "node:fs/promises"
import { dirname, join } from "node:path"

/** Mode of a file with a private key in it, and of a file that everybody may read. */
export const SECRET_MODE = 0o600
export const PUBLIC_MODE = 0o644

/** Creates a directory that only its owner can enter. One that exists keeps its mode: it may be the user's own. */
export async function createPrivateDirectory(path: string): Promise<void> {
  await mkdir(path, { recursive: true, mode: 0o700 })
}

/** Returns the text of a file, or undefined when there is none; every other failure is thrown. */
export async function readTextIfPresent(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8")
  } catch (error) {
    if (isMissing(error)) return undefined
    throw error
  }
}

/** Writes a file as a whole: into a new file beside it, to the disk, then in its place. */
export async function writeWhole(path: string, text: string, mode: number): Promise<void> {
  const temporary = join(dirname(path), `.${randomBytes(8).toString("hex")}.tmp`)
  try {
    await writeNew(temporary, text, mode)
    await rename(temporary, path)
  } catch (error) {
    await rm(temporary, { force: true })
    throw error
  }
}

/** Writes a file that must not exist yet; fails with EEXIST when it does. */
export async function writeNew(path: string, text: string, mode: number): Promise<void> {
  const file = await open(path, "wx", mode)
  try {
    await file.writeFile(text)
    await file.sync()
  } finally {
    await file.close()
  }
}

/** Takes a file with a key in it away from other users of the machine when someone has let them in. */
export async function closeToOthers(path: string): Promise<void> {
  if (process.platform === "win32") return
  const { mode } = await stat(path)
  if ((mode & 0o077) !== 0) await chmod(path, SECRET_MODE)
}

/** Moves a file to a name that nothing has yet; does nothing when the file is missing. */
export async function moveAside(path: string, asidePath: string): Promise<void> {
  try {
    await rename(path, asidePath)
  } catch (error) {
    if (!isMissing(error)) throw error
  }
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "ENOENT"
}
