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
        @Flag(name: .long, help: "Print JSON.") var json = false

        func run() throws {
            let pem = try certificate.map { try InputFile.read($0) }
            let facts = try CurrentFacts(options)
            let issued: CommandLineToken
            do throws(StartError) {
                issued = try CommandLineToken(
                    client: client, scopes: scope, certificate: pem,
                    configuration: facts.configuration, state: facts.state)
            } catch {
                throw error.exit
            }
            try Output.write(json ? String(issued.reply.dropLast()) : issued.token)
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
                    state: facts.state, at: now)
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
            abstract: "Not in this version: tokens end by their exp.")

        @Argument(help: "The token.") var token: String

        func run() throws {
            Diagnostics.write(
                "gatehouse: revoking tokens is not in this version; they end by their exp")
            throw ExitCode(64)
        }
    }
}
