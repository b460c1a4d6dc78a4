import ArgumentParser
import Cryptography
import Foundation
import OAuth
import Primitives
import Store

struct ClientCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "client",
        abstract: "Add, list, show, remove clients and rotate their secrets.",
        subcommands: [Add.self, List.self, Show.self, Remove.self, Rotate.self])

    struct Add: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Add a client; its secrets are shown once.")

        @OptionGroup var options: ConfigOption
        @Argument(help: "The client's id; also its OAuth 1.0 consumer key.") var id: String
        @Option(name: .long, help: "A scope it may be granted; repeatable.") var scope: [String] =
            []
        @Option(name: .long, help: "An audience its tokens may have; repeatable.")
        var audience: [String] = []
        @Flag(name: .long, help: "Give it an OAuth 1.0 consumer secret too.") var oauth1 = false
        @Flag(name: .long, help: "Let it sign with PLAINTEXT (on TLS listeners).")
        var allowPlaintext = false
        @Option(name: .long, help: "client_secret_basic or client_secret_post; either by default.")
        var authMethod: String?
        @Flag(name: .long, help: "Print JSON.") var json = false

        func validate() throws {
            let known = RegisteredClient.AuthMethod.self
            if let authMethod, known.init(rawValue: authMethod) == nil {
                throw ValidationError(
                    "\(authMethod) is not in this version: client_secret_basic or client_secret_post"
                )
            }
        }

        func run() throws {
            let access = try StoreAccess(options)
            let secret = try ClientSecret.generate()
            let consumerSecret = oauth1 ? try ClientSecret.generate() : nil
            let client = StoredClient(
                id: id, secretHashes: [try ClientSecret.hash(secret)], scopes: scope,
                audiences: audience, authMethod: authMethod, oauth1Secret: consumerSecret,
                allowsPlaintext: allowPlaintext, createdAt: WallTime.now())
            try access.perform(.addClient(client))
            if access.configuration.clients.contains(where: { $0.id == id }) {
                Diagnostics.write(
                    "gatehouse: the conf declares client \(id) too; there the conf counts")
            }
            Secrets.show(id: id, secret: secret, consumerSecret: consumerSecret, json: json)
        }
    }

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List the clients.")

        @OptionGroup var options: ConfigOption
        @Flag(name: .long, help: "Print JSON.") var json = false

        func run() throws {
            let access = try StoreAccess(options)
            let clients = try access.perform(.snapshot).clients
            let declared = access.configuration.clients
            if json {
                Output.json(
                    clients.map(Facts.of)
                        + declared.map { ["id": $0.id, "source": "conf", "scopes": $0.scopes] })
                return
            }
            for client in clients {
                print(client.id, "store", client.scopes.joined(separator: " "))
            }
            for client in declared {
                print(client.id, "conf", client.scopes.joined(separator: " "))
            }
        }
    }

    struct Show: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Show one client; no secret.")

        @OptionGroup var options: ConfigOption
        @Argument(help: "The client's id.") var id: String
        @Flag(name: .long, help: "Print JSON.") var json = false

        func run() throws {
            let client = try find(id, try StoreAccess(options))
            let facts = Facts.of(client)
            if json { return Output.json(facts) }
            for (name, value) in facts.sorted(by: { $0.key < $1.key }) {
                print("\(name): \((value as? [String])?.joined(separator: " ") ?? "\(value)")")
            }
        }
    }

    struct Remove: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Remove a client.")

        @OptionGroup var options: ConfigOption
        @Argument(help: "The client's id.") var id: String
        @Flag(name: .long, help: "Print JSON.") var json = false

        func run() throws {
            try StoreAccess(options).perform(.removeClient(id: id))
            if json { return Output.json(["removed": id]) }
            print("removed \(id); tokens that it holds end by themselves")
        }
    }

    struct Rotate: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Give a client a new secret; the last one stays good until the next rotation."
        )

        @OptionGroup var options: ConfigOption
        @Argument(help: "The client's id.") var id: String
        @Flag(name: .long, help: "Print JSON.") var json = false

        func run() throws {
            let access = try StoreAccess(options)
            var client = try find(id, access)
            let secret = try ClientSecret.generate()
            client.secretHashes =
                [try ClientSecret.hash(secret)]
                + client.secretHashes.prefix(StoredClient.secretLimit - 1)
            try access.perform(.replaceClient(client))
            Secrets.show(id: id, secret: secret, consumerSecret: nil, json: json)
            Diagnostics.write("the last secret stays good until the next rotation")
        }
    }
}

extension ParsableCommand {
    fileprivate func find(_ id: String, _ access: StoreAccess) throws -> StoredClient {
        let clients = try access.perform(.snapshot).clients
        guard let client = clients.first(where: { $0.id == id }) else {
            let isDeclared = access.configuration.clients.contains { $0.id == id }
            Diagnostics.write(
                isDeclared
                    ? "gatehouse: client \(id) is declared in the conf, not in the store"
                    : "gatehouse: no client \(id)")
            throw ExitCode(64)
        }
        return client
    }
}

/// What is shown of a client: never a secret, never its hash.
private enum Facts {
    static func of(_ client: StoredClient) -> [String: Any] {
        [
            "id": client.id, "source": "store", "scopes": client.scopes,
            "audiences": client.audiences, "auth_method": client.authMethod ?? "any",
            "secrets": client.secretHashes.count, "oauth1": client.oauth1Secret != nil,
            "allow_plaintext": client.allowsPlaintext, "created_at": Output.time(client.createdAt),
        ]
    }
}

/// The one place where secrets reach the terminal, once.
private enum Secrets {
    static func show(id: String, secret: Secret, consumerSecret: Secret?, json: Bool) {
        func text(_ secret: Secret) -> String { String(decoding: secret.exposed, as: UTF8.self) }
        if json {
            var object = ["client_id": id, "client_secret": text(secret)]
            if let consumerSecret {
                object["oauth1_consumer_key"] = id
                object["oauth1_consumer_secret"] = text(consumerSecret)
            }
            return Output.json(object)
        }
        print("client_id: \(id)")
        print("client_secret: \(text(secret))")
        if let consumerSecret {
            print("oauth1_consumer_key: \(id)")
            print("oauth1_consumer_secret: \(text(consumerSecret))")
        }
        Diagnostics.write("shown once: it is not kept anywhere in the clear")
    }
}
