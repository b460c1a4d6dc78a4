import ArgumentParser
import Foundation
import Gateway
import Glibc
import Primitives
import Store
import Synchronization

struct StoreCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "store", abstract: "Export the state, and import it into an empty store.",
        subcommands: [Export.self, Import.self])

    /// What an export is not: for both commands' help.
    private static let limits = """
        An export holds clients, signing keys, tokens, revocations and what was used once, as lines of JSON. Secrets and \
        private keys in it are sealed under the key of 'secrets'; only a store with the same key takes it, so keep the key \
        apart from the export. The rest is in clear: ids, scopes, hashes of secrets, digests of tokens.

        The nonces of OAuth 1.0 that a gateway without Redis has seen are not in it: after an import into SQLite wait for \
        one timestamp_window before you serve, or a request of that time may pass once more. An import into Redis needs no \
        wait. Of a Redis in use, what comes or goes during the export may be in it or not.
        """

    struct Export: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Write the state to standard output, secrets sealed.",
            discussion: StoreCommand.limits)

        @OptionGroup var options: ConfigOption

        func run() throws {
            let access = try StoreAccess(options)
            let isLost = Mutex(false)
            let (count, faults): (Int, [StoreFault])
            do throws(StoreError) {
                (count, faults) = try access.store.export { line in
                    isLost.withLock { isLost in
                        if !isLost { isLost = (try? Output.json(text: line)) == nil }
                    }
                }
            } catch {
                throw access.exit(error)
            }
            // Output has said so.
            if isLost.withLock({ $0 }) { throw ExitCode(70) }
            Diagnostics.write("\(count) records")
            StoreAccess.tell(faults)
            // EX_DATAERR: what was written is good, and not all.
            if !faults.isEmpty { throw ExitCode(65) }
        }
    }

    struct Import: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Read an export from standard input into a store without clients and keys.",
            discussion: StoreCommand.limits)

        @OptionGroup var options: ConfigOption

        func run() throws {
            let access = try StoreAccess(options)
            let imported: ImportedRecords
            do throws(StoreError) {
                imported = try access.store.restore { readLine() }
            } catch {
                throw access.exit(error)
            }
            try Output.write(
                "clients \(imported.clients), keys \(imported.keys), tokens \(imported.tokens), "
                    + "revocations \(imported.revocations), used once \(imported.oneTimeIDs)")
        }
    }
}
