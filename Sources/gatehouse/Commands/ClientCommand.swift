import ArgumentParser
import Configuration
import Cryptography
import Foundation
import Gateway
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
        @Option(
            name: .long,
            help:
                "client_secret_basic or client_secret_post (either by default), private_key_jwt or tls_client_auth."
        )
        var authMethod: String?
        @Option(name: .long, help: "A JWK set with its public keys, for private_key_jwt.")
        var jwks: String?
        @Option(
            name: .long,
            help:
                "The name in its certificate, for tls_client_auth: dns:, uri:, ip:, email: or subject: and the name."
        )
        var certificateName: String?
        @Flag(
            name: .long,
            help: "Issue it tokens that are bound to a key by DPoP, and no others.")
        var dpopBound = false
        @Flag(name: .long, help: "Print JSON.") var json = false

        func validate() throws {
            let method = authMethod.map(RegisteredClient.AuthMethod.init(rawValue:))
            if let method, method == nil {
                throw ValidationError("--auth-method \(authMethod ?? "") is no method")
            }
            guard (method == .privateKeyJWT) == (jwks != nil) else {
                throw ValidationError("--jwks and --auth-method private_key_jwt go together")
            }
            guard (method == .tls) == (certificateName != nil) else {
                throw ValidationError(
                    "--certificate-name and --auth-method tls_client_auth go together")
            }
            if let certificateName, CertificateRule(text: certificateName) == nil {
                throw ValidationError("--certificate-name \(certificateName): dns:NAME, for one")
            }
            // RFC 6749 section 3.3; and a space would make two of it.
            for name in scope where !isScope(name) {
                throw ValidationError("--scope '\(name)' is not one scope; --scope is repeatable")
            }
            guard !audience.contains("") else { throw ValidationError("--audience is empty") }
            guard oauth1 || !allowPlaintext else {
                throw ValidationError("--allow-plaintext needs --oauth1")
            }
        }

        private func isScope(_ text: String) -> Bool {
            !text.isEmpty
                && text.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F && $0 != 0x22 && $0 != 0x5C }
        }

        func run() throws {
            let access = try StoreAccess(options)
            // One that proves itself by a key has no secret to lose.
            let hasSecret = jwks == nil && certificateName == nil
            let secret = hasSecret ? try ClientSecret.generate() : nil
            let consumerSecret = oauth1 ? try ClientSecret.generate() : nil
            let now = WallTime.now()
            let client = StoredClient(
                id: id,
                secrets: try secret.map {
                    [StoredSecret(hash: try ClientSecret.hash($0), createdAt: now)]
                } ?? [], scopes: scope, audiences: audience, authMethod: authMethod,
                oauth1Secrets: consumerSecret.map {
                    [StoredSharedSecret(secret: $0, createdAt: now)]
                } ?? [], allowsPlaintext: allowPlaintext, jwks: try jwks.map(PublicKeys.read),
                certificateName: certificateName, requiresProof: dpopBound, createdAt: now)
            let revocations = try access.perform(.revocations(after: 0)).revocations
            let wait = CommandLineRevocation.secondsUntilReusable(id, revocations, now)
            guard wait == 0 else {
                Diagnostics.write(
                    "gatehouse: a client \(id) was removed just now, and the tokens of its name are refused: "
                        + "try again in \(wait) s")
                throw ExitCode(69)
            }
            try access.perform(.addClient(client))
            access.warnIfDeclared(id)
            try Secrets.show(id: id, secret: secret, consumerSecret: consumerSecret, json: json)
        }
    }

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List the clients.")

        @OptionGroup var options: ConfigOption
        @Flag(name: .long, help: "Print JSON.") var json = false

        func run() throws {
            let access = try StoreAccess(options)
            let clients = try access.snapshot().clients
            // The conf's first, as they count where both have an id.
            let all = access.configuration.clients.map(Facts.of) + clients.map(Facts.of)
            if json { return try Output.json(all) }
            for facts in all {
                let scopes = (facts["scopes"] as? [String] ?? []).joined(separator: " ")
                let isBound = facts["dpop_bound_access_tokens"] as? Bool == true
                try Output.write(
                    "\(facts["id"] ?? "") \(facts["source"] ?? "") \(scopes)"
                        + (isBound ? " (tokens bound by DPoP)" : ""))
            }
        }
    }

    struct Show: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Show one client; no secret.")

        @OptionGroup var options: ConfigOption
        @Argument(help: "The client's id.") var id: String
        @Flag(name: .long, help: "Print JSON.") var json = false

        func run() throws {
            let access = try StoreAccess(options)
            let declared = access.configuration.clients.first { $0.id == id }
            // Where both know the id the conf counts, so that is what is shown.
            let facts = try declared.map(Facts.of) ?? Facts.of(find(id, access))
            if json { return try Output.json(facts) }
            for (name, value) in facts.sorted(by: { $0.key < $1.key }) {
                let text = (value as? [String])?.joined(separator: " ") ?? "\(value)"
                try Output.write("\(name): \(text)")
            }
        }
    }

    struct Remove: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Remove a client.")

        @OptionGroup var options: ConfigOption
        @Argument(help: "The client's id.") var id: String
        @Flag(name: .long, help: "Print JSON.") var json = false

        func run() throws {
            let access = try StoreAccess(options)
            let isDamaged = try access.perform(.snapshot).isDamaged(id)
            if !isDamaged { _ = try find(id, access) }
            // The tokens of the name are those of the conf's client, which stays.
            let isDeclared = access.isDeclared(id)
            if !isDeclared {
                // Its tokens go with it. First: whatever comes between, no token outlives its client.
                let order = CommandLineRevocation(removing: id, access.configuration, .now())
                try access.perform(.revoke(order.revocation))
            }
            try access.perform(.removeClient(id: id))
            access.warnIfDeclared(id)
            if json { return try Output.json(["removed": id]) }
            try Output.write("removed \(id)" + (isDeclared ? "" : " and revoked its tokens"))
        }
    }

    struct Rotate: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract:
                "Give a client a new secret; the last one stays good for a while. Or give it other keys."
        )

        @OptionGroup var options: ConfigOption
        @Argument(help: "The client's id.") var id: String
        @Option(
            name: .long,
            help:
                "How long the last one stays good, such as 24h; until the next rotation by default."
        )
        var grace: String?
        @Flag(name: .long, help: "The OAuth 1.0 consumer secret in place of the client secret.")
        var oauth1 = false
        @Option(
            name: .long,
            help:
                "Of a client of private_key_jwt: the JWK set that takes the place of its own. To let old keys stay good for a while name a set with both first."
        )
        var jwks: String?
        @Flag(name: .long, help: "Print JSON.") var json = false

        func validate() throws {
            guard jwks == nil || (!oauth1 && grace == nil) else {
                throw ValidationError("--jwks goes with neither --oauth1 nor --grace")
            }
            if let grace, ConfDuration(grace) == nil {
                throw ValidationError("--grace \(grace): a duration such as 30s, 10m, 24h or 7d")
            }
        }

        func run() throws {
            let access = try StoreAccess(options)
            if let jwks { return try replaceKeys(try PublicKeys.read(jwks), access) }
            let secret = try ClientSecret.generate()
            try access.alone {
                while try !rotate(secret, access) {}
            }
            access.warnIfDeclared(id)
            try Secrets.show(
                id: id, secret: oauth1 ? nil : secret, consumerSecret: oauth1 ? secret : nil,
                json: json)
            Diagnostics.write(
                "the secret before stays good "
                    + (grace.map { "for \($0)" } ?? "until the next rotation"))
        }

        private func replaceKeys(_ jwks: String, _ access: StoreAccess) throws {
            try access.alone {
                while true {
                    let old = try find(id, access)
                    guard old.jwks != nil else {
                        throw refusal("\(id) has no keys: it proves itself otherwise")
                    }
                    var client = old
                    client.jwks = jwks
                    if try replace(old, with: client, access) { break }
                }
            }
            access.warnIfDeclared(id)
            if json { return try Output.json(["client_id": id]) }
            try Output.write("client_id: \(id)")
            Diagnostics.write("the keys before are good no more")
        }

        /// A secret that the client could not use, or that it never had, is none to be shown.
        private func demandSecret(_ client: StoredClient) throws {
            if oauth1 {
                guard !client.oauth1Secrets.isEmpty else {
                    throw refusal("\(id) has no OAuth 1.0 secret: add a client with --oauth1")
                }
                return
            }
            if client.jwks != nil {
                throw refusal("\(id) proves itself by keys: give it others with --jwks FILE")
            }
            if client.certificateName != nil {
                throw refusal("\(id) proves itself by a certificate: it has no secret")
            }
        }

        private func refusal(_ text: String) -> ExitCode {
            Diagnostics.write("gatehouse: \(text)")
            return ExitCode(64)
        }

        private func rotate(_ secret: Secret, _ access: StoreAccess) throws -> Bool {
            let old = try find(id, access)
            try demandSecret(old)
            var client = old
            let now = WallTime.now()
            let end = grace.flatMap(ConfDuration.init).map {
                WallTime(seconds: now.seconds + $0.duration.wholeSeconds)
            }
            // Newest first: what falls off the end is the one before the last.
            let kept = StoredClient.secretLimit - 1
            if oauth1 {
                let before = client.liveOAuth1Secrets(at: now).prefix(kept)
                client.oauth1Secrets =
                    [StoredSharedSecret(secret: secret, createdAt: now)]
                    + before.map { secret in end.map(secret.expiring) ?? secret }
            } else {
                let before = client.liveSecrets(at: now).prefix(kept)
                client.secrets =
                    [StoredSecret(hash: try ClientSecret.hash(secret), createdAt: now)]
                    + before.map { secret in end.map(secret.expiring) ?? secret }
            }
            return try replace(old, with: client, access)
        }

        /// - Returns: false when another host has changed the client meanwhile: what somebody was shown there must not be
        ///   undone.
        private func replace(
            _ old: StoredClient, with client: StoredClient, _ access: StoreAccess
        ) throws -> Bool {
            do throws(StoreError) {
                try access.store.perform(.replaceClient(client, ifStill: old))
                return true
            } catch .clientChanged {
                return false
            } catch {
                throw access.exit(error)
            }
        }
    }
}

extension StoreSnapshot {
    /// Whether there is such a client, of which nothing can be read.
    fileprivate func isDamaged(_ id: String) -> Bool {
        faults.contains { $0.record == .client(id: id) }
    }
}

extension ParsableCommand {
    fileprivate func find(_ id: String, _ access: StoreAccess) throws -> StoredClient {
        let snapshot = try access.snapshot()
        guard let client = snapshot.clients.first(where: { $0.id == id }) else {
            if snapshot.isDamaged(id) {
                Diagnostics.write("gatehouse: remove it with `gatehouse client remove`")
                throw ExitCode(69)
            }
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

extension StoreAccess {
    /// A slip of the pen must not pass for a revocation.
    func warnIfUnknown(_ id: String) throws {
        guard !configuration.clients.contains(where: { $0.id == id }) else { return }
        let snapshot = try snapshot()
        guard !snapshot.clients.contains(where: { $0.id == id }), !snapshot.isDamaged(id) else {
            return
        }
        Diagnostics.write("gatehouse: there is no client \(id) now; it may have been removed")
    }

    fileprivate func isDeclared(_ id: String) -> Bool {
        configuration.clients.contains { $0.id == id }
    }

    fileprivate func warnIfDeclared(_ id: String) {
        guard isDeclared(id) else { return }
        Diagnostics.write(
            "gatehouse: the conf declares client \(id) too, and the conf counts: this change has no effect while it does"
        )
    }
}

/// What is shown of a client: never a secret, never its hash.
private enum Facts {
    static func of(_ client: ClientConfiguration) -> [String: Any] {
        [
            "id": client.id, "source": "conf", "scopes": client.scopes,
            "audiences": client.audiences, "auth_method": client.authMethod?.rawValue ?? "any",
            "secrets": (client.secretFile == nil ? 0 : 1) + (client.secretHash == nil ? 0 : 1),
            "oauth1": client.oauth1SecretFile != nil || client.oauth1RSAKeyFile != nil,
            "allow_plaintext": client.allowPlaintext,
            "dpop_bound_access_tokens": client.requiresProof,
        ]
    }

    static func of(_ client: StoredClient) -> [String: Any] {
        [
            "id": client.id, "source": "store", "scopes": client.scopes,
            "audiences": client.audiences, "auth_method": client.authMethod ?? "any",
            "secrets": client.liveSecrets(at: .now()).count,
            "oauth1": !client.liveOAuth1Secrets(at: .now()).isEmpty,
            "allow_plaintext": client.allowsPlaintext,
            "dpop_bound_access_tokens": client.requiresProof,
            "created_at": Output.time(client.createdAt),
        ]
    }
}

/// The key set of a client of `private_key_jwt`.
private enum PublicKeys {
    static func read(_ path: String) throws -> String {
        let bytes = try InputFile.read(path)
        do throws(ClientKeySetError) {
            _ = try KeySet.ofClient(bytes)
        } catch {
            throw ValidationError("--jwks \(path): \(error.text)")
        }
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw ValidationError("--jwks \(path): \(ClientKeySetError.notAKeySet.text)")
        }
        return text
    }
}

/// The one place where secrets reach the terminal, once.
private enum Secrets {
    static func show(
        id: String, secret: Secret?, consumerSecret: Secret?, json: Bool
    ) throws {
        func text(_ secret: Secret) -> String { String(decoding: secret.exposed, as: UTF8.self) }
        if json {
            var object = ["client_id": id]
            if let secret { object["client_secret"] = text(secret) }
            if let consumerSecret {
                object["oauth1_consumer_key"] = id
                object["oauth1_consumer_secret"] = text(consumerSecret)
            }
            return try Output.json(object)
        }
        var lines = ["client_id: \(id)"]
        if let secret { lines.append("client_secret: \(text(secret))") }
        if let consumerSecret {
            lines.append("oauth1_consumer_key: \(id)")
            lines.append("oauth1_consumer_secret: \(text(consumerSecret))")
        }
        for line in lines { try Output.write(line) }
        if secret != nil || consumerSecret != nil {
            Diagnostics.write("shown once: it is not kept anywhere in the clear")
        }
    }
}
