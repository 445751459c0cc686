/**
 * Completes `package-lock.json` with the optional platform packages that npm left out.
 *
 * npm records an optional package only when the registry at hand serves it, and `npm ci` then refuses the lockfile on every
 * machine. Mirrors often serve the packages of one platform only. Each missing entry follows from its parent, which pins the
 * exact version, and from its name, which tells the platform. It has no integrity hash, because nothing was fetched; the
 * packages of platforms that the mirror serves keep theirs. Run it after changing dependencies: `node scripts/complete-lockfile.ts`.
 */
import { readFileSync, writeFileSync } from "node:fs"
import { fileURLToPath } from "node:url"

interface Entry {
  readonly version?: string
  readonly dev?: boolean
  readonly optionalDependencies?: Readonly<Record<string, string>>
  readonly [member: string]: unknown
}

const OPERATING_SYSTEMS: Readonly<Record<string, string>> = {
  android: "android",
  darwin: "darwin",
  freebsd: "freebsd",
  linux: "linux",
  linuxmusl: "linux",
  netbsd: "netbsd",
  openbsd: "openbsd",
  openharmony: "openharmony",
  sunos: "sunos",
  win32: "win32",
  windows: "win32",
}
const PROCESSORS: Readonly<Record<string, string>> = {
  "64": "x64",
  amd64: "x64",
  armv7: "arm",
  riscv64gc: "riscv64",
  ppc64le: "ppc64",
}

const path = fileURLToPath(new URL("../package-lock.json", import.meta.url))
const lockfile = JSON.parse(readFileSync(path, "utf8")) as { packages: Record<string, Entry> }
const added = Object.entries(lockfile.packages).flatMap(([parentPath, parent]) =>
  Object.entries(parent.optionalDependencies ?? {}).flatMap(([name, version]) => {
    if (`node_modules/${name}` in lockfile.packages || `${parentPath}/node_modules/${name}` in lockfile.packages)
      return []
    return [[`node_modules/${name}`, createEntry(name, version, parent)] as const]
  }),
)
const root = lockfile.packages[""] ?? {}
const packages = Object.entries({ ...lockfile.packages, ...Object.fromEntries(added) })
  .filter(([key]) => key !== "")
  .toSorted(([a], [b]) => (a < b ? -1 : 1))
writeFileSync(
  path,
  `${JSON.stringify({ ...lockfile, packages: { "": root, ...Object.fromEntries(packages) } }, null, 2)}\n`,
)
console.log(
  added.length === 0
    ? "The lockfile was complete."
    : `Added ${added.length} entries:\n${added.map(([key]) => `  ${key}`).join("\n")}`,
)

function createEntry(name: string, version: string, parent: Entry): Entry {
  if (!/^\d+\.\d+\.\d+/.test(version))
    throw new Error(`${name} is not pinned by its parent (${version}); add it by hand`)
  const words = name.replace(/^@[^/]+\//, "").split("-")
  const os = words.map((word) => OPERATING_SYSTEMS[word]).find((word) => word !== undefined)
  const last = words.slice(words.findIndex((word) => OPERATING_SYSTEMS[word] !== undefined) + 1)[0] ?? ""
  if (os === undefined || last === "") throw new Error(`${name} does not tell its platform; add it by hand`)
  const libc = words.some((word) => word.startsWith("musl"))
    ? ["musl"]
    : words.some((word) => word.startsWith("gnu"))
      ? ["glibc"]
      : undefined
  return {
    version,
    cpu: [PROCESSORS[last] ?? last],
    ...(parent.dev === true ? { dev: true } : {}),
    ...(libc === undefined ? {} : { libc }),
    optional: true,
    os: [os],
  }
}
