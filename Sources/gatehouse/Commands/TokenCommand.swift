import ArgumentParser
import Cryptography
import Foundation
import Gateway
import OAuth
import Primitives
import Store

struct TokenCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "token", abstract: "Issue and inspect access tokens.",
        subcommands: [Issue.self, Inspect.self, Revoke.self])

    struct Issue: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Issue a token as the token endpoint would.")

        @OptionGroup var options: ConfigOption
        @Option(name: .long, help: "The client it is for.") var client: String
        @Option(name: .long, help: "A scope; repeatable; all of the client's by default.")
        var scope: [String] = []
        @Option(
            name: .long,
            help: "The certificate (PEM) that a client of tls_client_auth will use the token with.")
        var certificate: String?
        // In base64url it may begin with a hyphen.
        @Option(
            name: .long, parsing: .unconditional,
            help:
                "The thumbprint (RFC 7638) of the key that the client will prove by DPoP to hold.")
        var jkt: String?
        @Flag(name: .long, help: "Print JSON.") var json = false

        func run() throws {
            let pem = try certificate.map { try InputFile.read($0) }
            let facts = try CurrentFacts(options)
            let issued: CommandLineToken
            do throws(StartError) {
                issued = try CommandLineToken(
                    client: client, scopes: scope, certificate: pem, keyThumbprint: jkt,
                    configuration: facts.configuration, state: facts.state)
            } catch {
                throw error.exit
            }
            if let record = issued.record {
                // Before it is shown: a token that nobody knows is none.
                try StoreAccess(options).perform(.addToken(record))
            }
            if json { return try Output.json(text: String(issued.reply.dropLast())) }
            try Output.write(issued.token)
        }
    }

    struct Inspect: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show a token's parts and whether it holds here.")

        @OptionGroup var options: ConfigOption
        @Argument(help: "The token, or - for standard input.") var token: String
        @Option(name: .long, help: "The moment to judge by: seconds since 1970 or RFC 3339.")
        var at: String?
        @Flag(name: .long, help: "Print JSON.") var json = false

        func run() throws {
            let now = try Moment.read(at)
            let text = token == "-" ? try InputFile.standardInput() : Array(token.utf8)
            let facts = try CurrentFacts(options)
            let inspection: TokenInspection
            do throws(StartError) {
                inspection = try TokenInspection(
                    of: text.filter { $0 > 0x20 }, configuration: facts.configuration,
                    facts: facts.facts, at: now)
            } catch {
                throw error.exit
            }
            if json { return try Output.json(object(inspection)) }
            for line in inspection.lines { try Output.write(line) }
            let verdict = inspection.undecided == nil ? "holds" : "undecided"
            try Output.write("verdict: \(inspection.reason ?? verdict)")
        }

        private func object(_ inspection: TokenInspection) -> [String: Any] {
            func parsed(_ text: [UInt8]?) -> Any {
                text.flatMap { try? JSONSerialization.jsonObject(with: Data($0)) } ?? NSNull()
            }
            return [
                "header": parsed(inspection.header), "claims": parsed(inspection.claims),
                "lines": inspection.lines,
                "holds": inspection.reason == nil && inspection.undecided == nil,
                "reason": inspection.reason ?? NSNull(),
                "undecided": inspection.undecided ?? NSNull(),
            ]
        }
    }

    struct Revoke: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract:
                "Revoke a token, or all of a client's; every gateway of the store knows within a second."
        )

        @OptionGroup var options: ConfigOption
        @Argument(help: "The token, or - for standard input.") var token: String?
        @Option(
            name: .long, parsing: .unconditional,
            help: "The jti of a token of the authority, or of --issuer, in its place.")
        var jti: String?
        @Option(
            name: .long,
            help: "With --jti: the name of the issuer or introspection block whose token it is.")
        var issuer: String?
        @Option(
            name: .long,
            help:
                "With --jti: when the token ends; seconds since 1970 or RFC 3339. It is refused as long as any may live by default."
        )
        var until: String?
        @Option(name: .long, help: "All tokens of this client that were issued until now.")
        var client: String?
        @Option(
            name: .long,
            help: "With --client: issued until then; seconds since 1970 or RFC 3339.")
        var issuedBefore: String?
        @Flag(name: .long, help: "Print JSON.") var json = false

        func validate() throws {
            guard [token, jti, client].compactMap(\.self).count == 1 else {
                throw ValidationError("one of TOKEN, --jti and --client is needed")
            }
            guard client != nil || issuedBefore == nil else {
                throw ValidationError("--issued-before goes with --client")
            }
            guard jti != nil || (issuer == nil && until == nil) else {
                throw ValidationError("--issuer and --until go with --jti")
            }
        }

        func run() throws {
            let access = try StoreAccess(options)
            let now = WallTime.now()
            let order: CommandLineRevocation
            do throws(StartError) {
                if let client {
                    order = CommandLineRevocation(
                        client: client, issuedBefore: try past(now), access.configuration, now)
                } else if let jti {
                    order = try CommandLineRevocation(
                        jti: jti, issuer: issuer, until: try moment("--until", until),
                        access.configuration, now)
                } else {
                    order = try CommandLineRevocation(
                        token: try text(), access.configuration,
                        state: try snapshot(access), now)
                }
            } catch {
                throw error.exit
            }
            try access.perform(.revoke(order.revocation))
            if let client { try access.warnIfUnknown(client) }
            if let note = order.note { Diagnostics.write("gatehouse: \(note)") }
            if json { return try Output.json(["revoked": order.what]) }
            try Output.write("revoked \(order.what)")
        }

        private func past(_ now: WallTime) throws(StartError) -> WallTime? {
            guard let issuedBefore, let moment = try moment("--issued-before", issuedBefore)
            else { return nil }
            // It would refuse what is yet to be issued, and cannot be taken back.
            guard moment <= now else {
                throw StartError(.usage, "--issued-before \(issuedBefore) lies ahead")
            }
            return moment
        }

        private func moment(_ option: String, _ text: String?) throws(StartError) -> WallTime? {
            guard let text else { return nil }
            do {
                return try Moment.read(text)
            } catch {
                throw StartError(.usage, "\(option) \(text): no moment")
            }
        }

        private func text() throws(StartError) -> [UInt8] {
            guard let token, token != "-" else {
                do {
                    return try InputFile.standardInput().filter { $0 > 0x20 }
                } catch {
                    throw StartError(.usage, "standard input cannot be read")
                }
            }
            return Array(token.utf8)
        }

        private func snapshot(_ access: StoreAccess) throws(StartError) -> StoreSnapshot {
            do throws(StoreError) {
                let snapshot = try access.store.perform(.snapshot)
                StoreAccess.tell(snapshot.faults)
                return snapshot
            } catch {
                throw StartError(error)
            }
        }
    }
}
