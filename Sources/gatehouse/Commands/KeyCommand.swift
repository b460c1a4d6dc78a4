import ArgumentParser
import Configuration
import Foundation
import Gateway
import OAuth
import Primitives
import Store

struct KeyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "key", abstract: "List, rotate and export the authority's signing keys.",
        subcommands: [List.self, Rotate.self, Export.self])

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List the signing keys.")

        @OptionGroup var options: ConfigOption
        @Flag(name: .long, help: "Print JSON.") var json = false

        func run() throws {
            let keys = try StoreAccess(options).perform(.snapshot).keys
            if json {
                Output.json(
                    keys.map { key in
                        [
                            "kid": key.kid, "algorithm": key.algorithm,
                            "state": key.isCurrent ? "current" : "retired",
                            "created_at": Output.time(key.createdAt),
                        ]
                    })
                return
            }
            for key in keys {
                print(
                    key.kid, key.algorithm, key.isCurrent ? "current" : "retired",
                    Output.time(key.createdAt))
            }
        }
    }

    struct Rotate: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make a new signing key; the last one stays published.",
            discussion: "A running gateway signs with the new key within a second.")

        @OptionGroup var options: ConfigOption
        @Flag(name: .long, help: "Print JSON.") var json = false

        func run() throws {
            let access = try StoreAccess(options)
            guard let authority = access.configuration.authority else {
                Diagnostics.write("gatehouse: the conf has no authority block")
                throw ExitCode(78)
            }
            let key = try SigningKeyRecord.make(authority.signingAlgorithm)
            try access.perform(.addSigningKey(key))
            if json { return Output.json(["kid": key.kid, "algorithm": key.algorithm]) }
            print(key.kid, key.algorithm, "current")
        }
    }

    struct Export: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Print the public keys as a JWK set.")

        @OptionGroup var options: ConfigOption

        func run() throws {
            let keys = try StoreAccess(options).perform(.snapshot).keys
            let document = try PublishedKeys.document(keys)
            print(String(decoding: document, as: UTF8.self))
        }
    }
}
