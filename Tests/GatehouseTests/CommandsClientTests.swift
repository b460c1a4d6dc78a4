import Foundation
import OAuth
import TestSupport
import Testing

struct CommandsClientTests {
    @Test func secretsAreShownOnceAndNowhereElse() throws {
        let fixture = try CommandFixture()
        let added = try fixture.output(
            "client", "add", "shop", "--scope", "orders.read", "--oauth1")
        let secret = try #require(value("client_secret", in: added))
        let consumerSecret = try #require(value("oauth1_consumer_secret", in: added))
        #expect(secret.count == 43)
        #expect(consumerSecret.count == 43)
        #expect(secret != consumerSecret)
        #expect(value("oauth1_consumer_key", in: added) == "shop")

        for arguments in [["client", "list"], ["client", "show", "shop"]] {
            for more in [[], ["--json"]] {
                let text = try fixture.gatehouse(arguments + more).output
                #expect(text.contains("shop"))
                #expect(!text.contains(secret))
                #expect(!text.contains(consumerSecret))
                #expect(!text.contains("sha256$"))
            }
        }
        let database =
            fixture.folder.read("state.db") + fixture.folder.read("state.db-wal")
        #expect(!database.contains(secret))
        #expect(!database.contains(consumerSecret))
    }

    @Test func whatWasAddedIsShown() throws {
        let fixture = try CommandFixture()
        let added = try fixture.object(
            "client", "add", "shop", "--scope", "a", "--scope", "b", "--audience", "x",
            "--auth-method", "client_secret_post", "--oauth1", "--allow-plaintext")
        #expect(
            Set(added.keys) == [
                "client_id", "client_secret", "oauth1_consumer_key", "oauth1_consumer_secret",
            ])
        let shown = try fixture.object("client", "show", "shop")
        #expect(shown["scopes"] as? [String] == ["a", "b"])
        #expect(shown["audiences"] as? [String] == ["x"])
        #expect(shown["auth_method"] as? String == "client_secret_post")
        #expect(shown["oauth1"] as? Bool == true)
        #expect(shown["allow_plaintext"] as? Bool == true)
        #expect(shown["secrets"] as? Int == 1)
        #expect(shown["source"] as? String == "store")
        let ids = try fixture.list("client", "list").compactMap { $0["id"] as? String }
        #expect(ids == ["declared", "shop"])
        #expect(try fixture.object("client", "remove", "shop")["removed"] as? String == "shop")
        #expect(try fixture.list("client", "list").count == 1)
    }

    @Test func aClientOfBoundTokensStaysOne() throws {
        let fixture = try CommandFixture()
        let secret = try #require(
            value(
                "client_secret",
                in: try fixture.output(
                    "client", "add", "shop", "--scope", "orders.read", "--dpop-bound")))
        _ = try fixture.output("client", "add", "other", "--scope", "orders.read")
        func isBound(_ id: String, _ fixture: CommandFixture) throws -> Bool? {
            try fixture.object("client", "show", id)["dpop_bound_access_tokens"] as? Bool
        }
        #expect(try isBound("shop", fixture) == true && isBound("other", fixture) == false)
        let listed = try fixture.output("client", "list").split(separator: "\n")
        #expect(listed.contains("shop store orders.read (tokens bound by DPoP)"))
        #expect(listed.contains("other store orders.read"))
        let issued = try fixture.gatehouse("token", "issue", "--client", "shop")
        #expect(issued.status == .code(64) && issued.error.contains("--jkt"))
        let gateway = try fixture.start()
        #expect(try fixture.tokenStatus("shop", secret) == 400)
        #expect(gateway.end() == .code(0))
        _ = try fixture.output("client", "rotate", "shop")
        #expect(try isBound("shop", fixture) == true)
        let export = try fixture.output("store", "export")
        let other = try CommandFixture()
        try FileManager.default.copyItem(
            atPath: fixture.folder.file("secrets.key"), toPath: other.folder.file("secrets.key"))
        _ = try other.output("store", "import", input: export + "\n")
        #expect(try isBound("shop", other) == true && isBound("other", other) == false)
    }

    /// Whoever can write into the store writes nothing onto the terminal of an operator.
    @Test func nothingFromTheStoreActsOnTheTerminal() throws {
        let fixture = try CommandFixture()
        _ = try fixture.output("client", "add", "shop", "--scope", "orders.read")
        _ = try fixture.output("key", "rotate")
        let bad =
            "char(27) || '[2J' || char(155) || char(8238, 1564) || char(127) || char(10) || 'x'"
        try fixture.sql("UPDATE client SET id = 'evil' || \(bad), auth_method = \(bad)")
        try fixture.sql("UPDATE client SET scopes = json_array(\(bad)), audiences = scopes")
        try fixture.sql("UPDATE signing_key SET algorithm = 'ES256' || \(bad)")
        let id = "evil\u{1B}[2J\u{9B}\u{202E}\u{61C}\u{7F}\nx"
        for arguments in [
            ["client", "list"], ["client", "list", "--json"], ["client", "show", id],
            ["client", "show", id, "--json"], ["key", "list"], ["key", "list", "--json"],
            ["store", "export"], ["client", "remove", id],
        ] {
            let result = try fixture.gatehouse(arguments)
            #expect(result.status == .code(0), "\(arguments) \(result.error)")
            #expect(result.output.contains("[2J"))
            for character in ["\u{1B}", "\u{9B}", "\u{202E}", "\u{61C}", "\u{7F}", "\nx"] {
                #expect(!result.output.contains(character), "\(arguments)")
                #expect(!result.error.contains(character), "\(arguments)")
            }
        }
    }

    @Test(arguments: [
        ["client", "add", "shop"],  // there already
        ["client", "add", ""],
        ["client", "add"],
        ["client", "add", "x", "--scope", "a b"],
        ["client", "add", "x", "--scope", ""],
        ["client", "add", "x", "--auth-method", "private_key_jwt"],
        ["client", "add", "x", "--allow-plaintext"],
        ["client", "show", "nobody"],
        ["client", "remove", "nobody"],
        ["client", "rotate", "nobody"],
        ["client", "rotate", "declared"],  // the conf's
        ["client", "paint", "shop"],
    ])
    func whatCannotBeDoneEndsWith64(arguments: [String]) throws {
        let fixture = try CommandFixture()
        _ = try fixture.output("client", "add", "shop")
        let result = try fixture.gatehouse(arguments)
        #expect(result.status == .code(64))
        #expect(result.output.isEmpty)
        #expect(!result.error.isEmpty)
        #expect(try fixture.list("client", "list").count == 2)
    }

    @Test func aClientOfTheConfCounts() throws {
        let fixture = try CommandFixture()
        let result = try fixture.gatehouse("client", "add", "declared", "--scope", "a")
        #expect(result.status == .code(0))
        #expect(result.error.contains("the conf counts"))
        let shown = try fixture.object("client", "show", "declared")
        #expect(shown["source"] as? String == "conf")
        #expect(shown["scopes"] as? [String] == ["orders.read"])
        // What goes from the store takes nothing from the conf's client.
        let removed = try fixture.gatehouse("client", "remove", "declared")
        #expect(removed.status == .code(0) && removed.output == "removed declared\n")
        #expect(try !fixture.output("store", "export").contains("revocation"))
    }

    @Test func aStoreInMemoryIsNotForCommands() throws {
        let fixture = try CommandFixture(store: "store memory;")
        let result = try fixture.gatehouse("client", "add", "shop")
        #expect(result.status == .code(78))
        #expect(result.output.isEmpty)
    }

    @Test func aStoreThatCannotBeOpenedIsUnavailable() throws {
        let fixture = try CommandFixture(store: "store sqlite { path /nowhere/at/all/state.db; }")
        let result = try fixture.gatehouse("client", "add", "shop")
        #expect(result.status == .code(69))
        #expect(result.error.split(separator: "\n").count == 1)
    }

    @Test func aStoreOfSomebodyElseEndsWith77() throws {
        let fixture = try CommandFixture()
        _ = try fixture.output("client", "add", "shop")
        let modes = [
            fixture.folder.path: 0o755, fixture.conf: 0o644,
            fixture.folder.file("declared.secret"): 0o644,
            fixture.folder.file("secrets.key"): 0o644,
            fixture.folder.file("state.db"): geteuid() == 0 ? 0o600 : 0,
        ]
        for (path, mode) in modes {
            try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: path)
        }
        var arguments = [fixture.binary, "client", "list", "--config", fixture.conf]
        if geteuid() == 0 {
            // Root may do everything, so it runs the command as somebody who may not read the database.
            let copy = fixture.folder.file("gatehouse")
            // By a process of its own: a descriptor that some other test's child inherits keeps the file busy.
            let cp = try requireTool("cp", package: "coreutils")
            _ = try run(cp, [fixture.binary, copy])
            arguments[0] = copy
            let setpriv = try requireTool("setpriv", package: "util-linux")
            arguments = [setpriv, "--reuid=65534", "--regid=65534", "--clear-groups"] + arguments
        }
        let result = try run(arguments[0], Array(arguments.dropFirst()))
        #expect(result.status == .code(77), "\(result.error)")
    }

    @Test func aRunningGatewaySeesAClientWithoutReload() throws {
        let fixture = try CommandFixture()
        let gateway = try fixture.start()
        defer { gateway.end() }
        #expect(try fixture.tokenStatus("shop", "nothing") == 401)
        let added = try fixture.object("client", "add", "shop", "--scope", "orders.read")
        let secret = try #require(added["client_secret"] as? String)
        // The promise is one second; the other is for a machine that is busy.
        #expect(
            try eventually(within: .seconds(2)) { try fixture.tokenStatus("shop", secret) == 200 })
        _ = try fixture.output("client", "remove", "shop")
        #expect(
            try eventually(within: .seconds(2)) { try fixture.tokenStatus("shop", secret) == 401 })
    }

    // MARK: Keys

    private static func keySet(_ keyIDs: String..., more: String = "") throws -> String {
        let keys = try keyIDs.map {
            try SigningKey(keyID: $0, algorithm: .es256, privateKey: .generate(.p256)).published
        }
        let text = String(decoding: JWKSDocument.write(keys), as: UTF8.self)
        return more.isEmpty ? text : text.replacing(#""kty""#, with: "\(more),\"kty\"")
    }

    /// Neither by command nor by the conf: what is kept would be enough to sign as the client.
    @Test(arguments: [
        (#""d":"AAAA""#, "private or shared key"),
        (#""key_ops":["deriveKey"],"d":"AAAA""#, "private or shared"),
        (
            #""key_ops":["deriveKey"]"#,
            "without a key that signs: a: its use or key_ops say that it verifies nothing"
        ),
    ])
    func aKeySetMustBeOfPublicKeys(more: String, message: String) throws {
        let keys = try TemporaryDirectory()
        let path = try keys.write("jwks", Self.keySet("a", more: more))
        let fixture = try CommandFixture()
        let method = ["--auth-method", "private_key_jwt"]
        let added = try fixture.gatehouse(["client", "add", "signer", "--jwks", path] + method)
        #expect(added.status == .code(64) && added.error.contains(message), "\(added.error)")
        #expect(try fixture.list("client", "list").count == 1)
        let declared = try CommandFixture(
            more: "client signer { auth_method private_key_jwt; jwks_file \(path); }")
        let started = try declared.gatehouse("token", "issue", "--client", "declared")
        #expect(started.status == .code(78) && started.error.contains(message), "\(started.error)")
    }

    /// What its owner calls a key must not act on the terminal of who reads why it was refused.
    @Test func aKeyIsNamedInPrintableText() throws {
        let keys = try TemporaryDirectory()
        let set = try Self.keySet("\u{1B}[2J", more: #""key_ops":["deriveKey"]"#)
        let fixture = try CommandFixture()
        let added = try fixture.gatehouse(
            ["client", "add", "signer", "--jwks", try keys.write("jwks", set)]
                + ["--auth-method", "private_key_jwt"])
        #expect(added.error.contains(#"without a key that signs: \u{1b}[2J: its use or key_ops"#))
        #expect(!added.error.contains("\u{1B}"), "\(added.error)")
    }

    @Test func aClientRotatesWhatItHas() throws {
        let fixture = try CommandFixture()
        let first = try fixture.folder.write("first", Self.keySet("a"))
        let both = try fixture.folder.write("both", Self.keySet("a", "b"))
        _ = try fixture.output(
            "client", "add", "signer", "--auth-method", "private_key_jwt", "--jwks", first)
        _ = try fixture.output("client", "add", "plain")
        _ = try fixture.output(
            "client", "add", "shown", "--auth-method", "tls_client_auth", "--certificate-name",
            "dns:a.test")
        for (arguments, message) in [
            (["signer"], "--jwks FILE"), (["shown"], "by a certificate"),
            (["plain", "--jwks", both], "has no keys"),
            (["plain", "--oauth1"], "no OAuth 1.0 secret"),
            (["signer", "--jwks", both, "--grace", "1h"], "neither"),
        ] {
            let result = try fixture.gatehouse(["client", "rotate"] + arguments)
            #expect(result.status == .code(64) && result.output.isEmpty)
            #expect(result.error.contains(message), "\(result.error)")
        }
        #expect(
            try fixture.object("client", "rotate", "signer", "--jwks", both)["client_id"] as? String
                == "signer")
        let exported = try fixture.output("store", "export")
        #expect(exported.contains(#"\"kid\":\"b\""#), "\(exported)")
    }

    @Test func aRotatedSecretStaysGoodUntilTheNextRotation() throws {
        let fixture = try CommandFixture()
        var secrets: [String] = []
        func keep(_ object: [String: Any]) throws {
            secrets.append(try #require(object["client_secret"] as? String))
        }
        try keep(fixture.object("client", "add", "shop"))
        try keep(fixture.object("client", "rotate", "shop"))
        try keep(fixture.object("client", "rotate", "shop"))
        #expect(try fixture.object("client", "show", "shop")["secrets"] as? Int == 2)
        let gateway = try fixture.start()
        defer { gateway.end() }
        #expect(try secrets.map { try fixture.tokenStatus("shop", $0) } == [401, 200, 200])
    }

    @Test func twoRotationsAtOnceDoNotUndoEachOther() throws {
        let fixture = try CommandFixture()
        let gateway = try fixture.start()
        defer { gateway.end() }
        _ = try fixture.output("client", "add", "shop")
        for _ in 0..<5 {
            let arguments = ["client", "rotate", "shop", "--config", fixture.conf]
            let both = try (0..<2).map { _ in try RunningProcess(fixture.binary, arguments) }
            for process in both { #expect(process.waitForExit() == .code(0)) }
            for process in both {
                let secret = try #require(value("client_secret", in: process.standardOutput))
                #expect(
                    try eventually(within: .seconds(3)) {
                        try fixture.tokenStatus("shop", secret) == 200
                    })
            }
        }
    }

    @Test func killedInTheMiddleNothingThatWasShownIsLost() throws {
        let fixture = try CommandFixture()
        _ = try fixture.output("client", "list")
        var shown: Set<String> = []
        for index in 0..<24 {
            let id = "client-\(index)"
            let process = try RunningProcess(
                fixture.binary, ["client", "add", id, "--config", fixture.conf])
            // Every other one is killed as soon as it has shown the secret, the rest at ever later moments.
            if index % 2 == 0 {
                try process.waitUntil("the secret") {
                    value("client_secret", in: process.standardOutput) != nil
                }
            } else {
                _ = poll(nil, 0, Int32(index * 2))
            }
            process.signal(SIGKILL)
            _ = process.waitForExit()
            if value("client_secret", in: process.standardOutput) != nil { shown.insert(id) }
        }
        let kept = Set(try fixture.list("client", "list").compactMap { $0["id"] as? String })
        #expect(shown.count >= 12)
        #expect(shown.isSubset(of: kept))
    }
}
