/**
 * Third-party data sets, read where they are: they have licences of their own and are not part of this repository.
 *
 * Tests that use one are skipped, visibly, when `SEKISHO_CONFORMANCE` does not name the directory that holds them.
 */
import { existsSync, readFileSync } from "node:fs"
import { join } from "node:path"

/** Returns the parsed JSON of a data set such as `dn/client-cert-dn-vectors.json`, or undefined when it is not there. */
export function readDataSet(path: string): unknown {
  const directory = process.env["SEKISHO_CONFORMANCE"]
  if (directory === undefined || directory === "") return undefined
  const file = join(directory, path)
  return existsSync(file) ? JSON.parse(readFileSync(file, "utf8")) : undefined
}
