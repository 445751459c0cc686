#!/usr/bin/env node
// The command runs TypeScript directly, which needs Node 22.18 or newer. On an older Node this file hands over to the one
// that `npm ci` installed beside the project.
import { spawn } from "node:child_process"
import { existsSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"

const [major = 0, minor = 0] = process.versions.node.split(".").map(Number)
const entry = fileURLToPath(new URL("sekisho.ts", import.meta.url))
if (major > 22 || (major === 22 && minor >= 18)) {
  await import("./sekisho.ts")
} else {
  const node = join(
    fileURLToPath(new URL("..", import.meta.url)),
    "node_modules",
    ".bin",
    process.platform === "win32" ? "node.cmd" : "node",
  )
  if (!existsSync(node)) {
    console.error(
      `Sekisho needs Node 22.18 or newer; this is ${process.versions.node}. Run "npm ci" in the project: it brings one.`,
    )
    process.exit(1)
  }
  const child = spawn(node, [entry, ...process.argv.slice(2)], {
    stdio: "inherit",
    shell: process.platform === "win32",
  })
  // A signal that was sent to this process only is meant for the command; one from a terminal reaches both, and the
  // command takes the two for one.
  for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => child.kill(signal))
  child.on("close", (status) => process.exit(status ?? 1))
}
