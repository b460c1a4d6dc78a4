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
        @Flag(name: .long, help: "Print JSON.") var json = false

        func run() throws {
            let access = try StoreAccess(options)
            let issued: CommandLineToken
            let state = try access.perform(.snapshot)
            do throws(StartError) {
                issued = try CommandLineToken(
                    client: client, scopes: scope, configuration: access.configuration,
                    state: state)
            } catch {
                throw error.exit
            }
            print(json ? issued.reply : issued.token, terminator: json ? "" : "\n")
        }
    }

    struct Inspect: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show a token's parts and whether it holds here.")

        @OptionGroup var options: ConfigOption
        @Argument(help: "The token, or - for standard input.") var token: String
        @Option(name: .long, help: "The moment to judge by: seconds since 1970.") var at: Int64?
        @Flag(name: .long, help: "Print JSON.") var json = false

        func run() throws {
            let access = try StoreAccess(options)
            let text =
                token == "-" ? InputFile.standardInput() : Array(token.utf8)
            let inspection: TokenInspection
            let state = try access.perform(.snapshot)
            do throws(StartError) {
                inspection = try TokenInspection(
                    of: text.filter { $0 > 0x20 }, configuration: access.configuration,
                    state: state,
                    at: at.map { WallTime(seconds: $0) } ?? WallTime.now())
            } catch {
                throw error.exit
            }
            if json {
                Output.json(
                    ["lines": inspection.lines, "reason": inspection.reason ?? "none"]
                        as [String: Any])
                return
            }
            for line in inspection.lines { print(line) }
            print("verdict: \(inspection.reason ?? "holds")")
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
