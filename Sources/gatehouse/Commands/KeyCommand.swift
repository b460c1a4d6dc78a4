import ArgumentParser
import Configuration
import Foundation
import Gateway
import OAuth
import Primitives
import Store

struct KeyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "key",
        abstract: "List, rotate, remove and export the authority's signing keys.",
        subcommands: [List.self, Rotate.self, Remove.self, Export.self])

    private static func state(of key: SigningKeyRecord) -> String {
        let now = WallTime.now()
        // One that was overtaken before it began never signs.
        let isNext = key.activatesAt > now && key.retiredAt.map { $0 > key.activatesAt } ?? true
        return key.signs(at: now) ? "current" : isNext ? "next" : "retired"
    }

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List the signing keys.")

        @OptionGroup var options: ConfigOption
        @Flag(name: .long, help: "Print JSON.") var json = false

        func run() throws {
            let keys = try CurrentFacts(options).state.keys
            if json { return try Output.json(keys.map(facts)) }
            for key in keys {
                let facts = facts(key)
                let names = ["kid", "algorithm", "state", "created_at", "retired_at"]
                try Output.write(names.compactMap { facts[$0] }.joined(separator: " "))
            }
        }

        private func facts(_ key: SigningKeyRecord) -> [String: String] {
            var facts = [
                "kid": key.kid, "algorithm": key.algorithm,
                "state": KeyCommand.state(of: key),
                "created_at": Output.time(key.createdAt),
            ]
            if let retiredAt = key.retiredAt { facts["retired_at"] = Output.time(retiredAt) }
            return facts
        }
    }

    struct Rotate: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make a new signing key; the last one stays published.",
            discussion:
                "The new key is published before it signs, so that whoever checks tokens knows it by then."
        )

        @OptionGroup var options: ConfigOption
        @Flag(
            name: .long,
            help:
                "Sign with it within a second, in a fleet within three: the last one is not to be trusted."
        )
        var now = false
        @Flag(name: .long, help: "Print JSON.") var json = false

        func run() throws {
            let access = try StoreAccess(options)
            guard let authority = access.configuration.authority else {
                Diagnostics.write("gatehouse: the conf has no authority block")
                throw ExitCode(78)
            }
            let keys = try access.snapshot().keys
            guard keys.count < AuthorityConfiguration.signingKeyLimit else {
                Diagnostics.write(
                    "gatehouse: there are \(keys.count) signing keys, and those who verify take no more: "
                        + "remove retired ones with `gatehouse key remove KID`")
                throw ExitCode(69)
            }
            // The first has nobody who could know another.
            let isFirst = keys.isEmpty
            let key = try SigningKeyRecord.make(
                authority.signingAlgorithm,
                activatesAt: isFirst ? nil : activation(authority, access.store))
            try access.perform(.addSigningKey(key))
            let state = KeyCommand.state(of: key)
            let facts = [
                "kid": key.kid, "algorithm": key.algorithm, "state": state,
                "activates_at": Output.time(key.activatesAt),
            ]
            if json { return try Output.json(facts) }
            try Output.write("\(key.kid) \(key.algorithm) \(state)")
            if now, state == "next" {
                Diagnostics.write(
                    "it signs from \(Output.time(key.activatesAt)) on, when every gateway knows it")
            }
        }

        /// - Returns: nil is at once.
        private func activation(
            _ authority: AuthorityConfiguration, _ store: StateStore
        ) -> WallTime? {
            let time = WallTime.now()
            guard now else { return authority.nextKeyActivatesAt(time) }
            // Of a fleet each gateway hears of it within a second: none may see a token of a key that it does not know. The
            // store keeps whole seconds, so that this is two at least.
            return store.isShared ? time.adding(seconds: 3) : nil
        }
    }

    struct Remove: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract:
                "Remove a retired signing key: tokens that it has signed are refused at once.",
            discussion: "After `key rotate --now`, when a private key may be in wrong hands.")

        @OptionGroup var options: ConfigOption
        @Argument(help: "The key's kid, as `gatehouse key list` shows it.") var kid: String
        @Flag(name: .long, help: "Print JSON.") var json = false

        func run() throws {
            let access = try StoreAccess(options)
            if try access.perform(.removeSigningKey(kid: kid, now: .now())) == 0 {
                let key = try access.perform(.snapshot).keys.first { $0.kid == kid }
                Diagnostics.write("gatehouse: signing key \(kid) \(problem(key))")
                throw ExitCode(64)
            }
            if json { return try Output.json(["removed": kid]) }
            try Output.write(
                "removed \(kid): tokens that it has signed are refused within a second")
        }

        private func problem(_ key: SigningKeyRecord?) -> String {
            guard let key else { return "is not in the store" }
            let state = KeyCommand.state(of: key)
            guard let end = key.retiredAt else {
                return "is the \(state) one: `gatehouse key rotate --now` retires it"
            }
            return "is the \(state) one until \(Output.time(end)): try again then"
        }
    }

    struct Export: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Print the public keys as a JWK set.")

        @OptionGroup var options: ConfigOption

        func run() throws {
            let keys = try CurrentFacts(options).state.keys
            let document = try PublishedKeys.document(keys)
            try Output.json(text: String(decoding: document, as: UTF8.self))
        }
    }
}
