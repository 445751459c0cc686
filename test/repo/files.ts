/**
 * The repository as data: the files git would commit, and the tables inside its documents.
 */
import { execFileSync } from "node:child_process"
import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"

const ROOT = fileURLToPath(new URL("../..", import.meta.url))

/** Returns the paths of all tracked and new files that git does not ignore, relative to the root. */
export function listFiles(): readonly string[] {
  const output = execFileSync("git", ["ls-files", "--cached", "--others", "--exclude-standard"], {
    cwd: ROOT,
    encoding: "utf8",
  })
  return output.split("\n").filter((path) => path !== "")
}

/** Returns the text of a file, path relative to the root. */
export function readText(path: string): string {
  return readFileSync(`${ROOT}/${path}`, "utf8")
}

/** Returns the body rows of the Markdown table under a heading, cells trimmed and without backticks. */
export function readMarkdownTable(path: string, heading: string): readonly (readonly string[])[] {
  const section = readText(path).split(`${heading}\n`)[1]?.split(/\n#+ /)[0] ?? ""
  return section
    .split("\n")
    .filter((line) => line.startsWith("|"))
    .slice(2)
    .map((line) =>
      line
        .split(/(?<!\\)\|/)
        .slice(1, -1)
        .map((cell) => cell.trim().replaceAll("`", "")),
    )
}
