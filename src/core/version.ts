/** Version of the gateway, that of `package.json`; a test compares them. Shown by the metrics. */
export const VERSION = "0.1.0"
