/**
 * What the sample bank insists on behind the development gateway: the configuration says whether it asks for proof, and
 * the keys come from where any origin gets them: the gateway's own endpoint, over TLS, under the development CA.
 */
import type { IncomingMessage } from "node:http"
import { createGatewayKeys, createProver, type Proof } from "../examples/bank/assertion.ts"
import type { Config } from "../src/config/config.ts"
import { BANK_ORIGIN } from "./development-variables.ts"

/** The bank's question to a request, as the running configuration has it. */
export interface BankProof {
  /** Returns the proof of a request, or undefined when none is asked for. */
  prove(request: IncomingMessage): Promise<Proof | undefined>
  /** Takes a configuration over; requests that were seen before are forgotten. */
  use(config: Config): void
}

/** Returns the question. `edgePort` is asked for when the keys are first needed; `ca` is PEM. */
export function createBankProof(address: string, edgePort: () => number, ca: string): BankProof {
  let prove: ((request: IncomingMessage) => Promise<Proof>) | undefined
  return {
    prove: async (request) => prove?.(request),
    use(config) {
      const assertion = config.origins.find(({ name }) => name === BANK_ORIGIN)?.assertion
      const path = config.routes.flatMap(({ action, match }) =>
        action.kind === "jwks" && match.kind === "exact" ? [match.path] : [],
      )[0]
      const [host = "localhost"] = config.hosts
      // Without an endpoint the bank could ask nobody for keys, and would refuse everything.
      if (assertion === undefined || path === undefined) {
        prove = undefined
        return
      }
      let keys: ReturnType<typeof createGatewayKeys> | undefined
      prove = createProver({
        ...assertion,
        keys: (header, token) => {
          keys ??= createGatewayKeys(new URL(`https://${host}:${edgePort()}${path}`), { ca, address })
          return keys(header, token)
        },
      })
    },
  }
}
