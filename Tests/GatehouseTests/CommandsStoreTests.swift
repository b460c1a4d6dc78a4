import Foundation
import TestSupport
import Testing

/// `gatehouse store export` and `import`, as an operator runs them: from SQLite into a Redis.
struct CommandsStoreTests {
    private let folder: TemporaryDirectory

    init() throws { folder = try TemporaryDirectory() }

    private func conf(_ name: String, _ store: String, key: String = "secrets.key") throws -> String
    {
        try folder.write(
            name,
            """
            listener web { address 127.0.0.1:0; }
            upstream app { server 127.0.0.1:9; }
            route / { upstream app; authenticate none; }
            \(store)
            secrets { key_file \(folder.file(key)); }
            """)
    }

    private func gatehouse(
        _ arguments: [String], input: String = ""
    ) throws -> CommandResult {
        try run(try gatehouseBinary(), arguments, input: input)
    }

    @Test func aStoreMovesFromSQLiteIntoRedis() throws {
        let server = try TestRedis()
        let old = try conf("old.conf", "store sqlite { path \(folder.file("old.db")); }")
        let new = try conf("new.conf", "store redis { address 127.0.0.1:\(server.port); }")
        let added = try gatehouse(["client", "add", "robot", "--oauth1", "--config", old])
        #expect(added.status == .code(0))
        let exported = try gatehouse(["store", "export", "--config", old])
        #expect(exported.status == .code(0))
        #expect(exported.output.contains("robot"))
        for line in added.output.split(separator: "\n") where line.contains("secret: ") {
            let secret = try #require(line.split(separator: " ").last)
            #expect(!exported.output.contains(secret))
        }
        let imported = try gatehouse(["store", "import", "--config", new], input: exported.output)
        #expect(imported.status == .code(0), "\(imported.error)")
        #expect(imported.output.hasPrefix("clients 1, keys 0, tokens 0"))
        let shown = try gatehouse(["client", "show", "robot", "--config", new])
        #expect(shown.status == .code(0) && shown.output.contains("oauth1: true"))
        // A second time there is something in the way.
        let again = try gatehouse(["store", "import", "--config", new], input: exported.output)
        #expect(again.status == .code(64) && again.error.contains("an empty one"))
        #expect(try gatehouse(["client", "rotate", "robot", "--config", new]).status == .code(0))
    }

    /// Whoever damaged a record may have chosen its name.
    @Test func theNameOfADamagedRecordDoesNothingToATerminal() throws {
        let server = try TestRedis()
        let new = try conf("new.conf", "store redis { address 127.0.0.1:\(server.port); }")
        #expect(try gatehouse(["client", "list", "--config", new]).status == .code(0))
        try server.command("HSET", "gatehouse:clients", "bad\u{1b}[2J\nok", "not JSON")
        for arguments in [["client", "list"], ["store", "export"]] {
            let told = try gatehouse(arguments + ["--config", new]).error
            #expect(told.contains(#"bad\u{1b}[2J\u{a}ok is damaged"#), "\(told)")
            #expect(!told.contains("\u{1b}"))
        }
    }

    @Test func anotherKeyAndAnotherTextAreRefused() throws {
        let old = try conf("old.conf", "store sqlite { path \(folder.file("old.db")); }")
        let other = try conf(
            "other.conf", "store sqlite { path \(folder.file("other.db")); }", key: "other.key")
        _ = try gatehouse(["client", "add", "robot", "--config", old])
        let exported = try gatehouse(["store", "export", "--config", old]).output
        let refused = try gatehouse(["store", "import", "--config", other], input: exported)
        #expect(refused.status == .code(69) && refused.error.contains("secrets key"))
        let letter = try gatehouse(["store", "import", "--config", other], input: "Dear aunt,\n")
        #expect(letter.status == .code(65) && letter.error.contains("line 1"))
    }
}
