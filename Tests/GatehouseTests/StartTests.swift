import Foundation
import TestSupport
import Testing

/// What keeps the program from starting: one clear line (or one a mistake) and the exit code of its kind.
struct StartTests {
    let folder: TemporaryDirectory

    init() throws {
        folder = try TemporaryDirectory()
    }

    /// Runs it on a conf that it cannot serve.
    func start(_ conf: String) throws -> CommandResult {
        let path = try folder.write("gateway.conf", conf)
        return try run(
            try gatehouseBinary(), ["serve", "--config", path], within: .seconds(20))
    }

    /// - Returns: the lines on stderr.
    static func expect(_ result: CommandResult, code: Int32, says text: String) -> [Substring] {
        #expect(result.status == .code(code))
        #expect(result.error.contains(text), "\(result.error)")
        #expect(result.output.isEmpty)
        return result.error.split(separator: "\n")
    }

    static func conf(_ rest: String = "", store: String = "store memory;") -> String {
        testConf(
            store: store,
            """
            upstream base { server 127.0.0.1:1; }
            route /base { upstream base; }
            \(rest)
            """)
    }

    @Test func aPortInUse() throws {
        let taken = try ScriptedUpstream()
        let result = try start(
            Self.conf("listener second { address 127.0.0.1:\(taken.port); }"))
        let lines = Self.expect(result, code: 69, says: "Address already in use")
        #expect(lines.count == 1)
        #expect(lines.first?.contains("listener second: 127.0.0.1:\(taken.port)") == true)
    }

    @Test func noConf() throws {
        let path = folder.file("nowhere.conf")
        let result = try run(try gatehouseBinary(), ["serve", "--config", path])
        let lines = Self.expect(result, code: 78, says: "no such file")
        #expect(lines.count == 1)
        #expect(lines.first?.contains(path) == true)
    }

    @Test func everyMistakeIsReported() throws {
        let result = try start(
            Self.conf(
                """
                frobnicate on;
                upstream app { server 127.0.0.1; balance sideways; }
                route /a { upstream nobody; }
                client c { secret_file absent; }
                """))
        #expect(result.status == .code(78))
        for name in ["frobnicate", "127.0.0.1", "sideways", "nobody", "absent"] {
            let mistakes = result.error.components(separatedBy: "\n").filter {
                $0.contains(": error: ") && $0.contains(name)
            }
            #expect(mistakes.count == 1, "\(name): \(result.error)")
        }
        // `check` says the same, behind its warnings.
        let check = try run(
            try gatehouseBinary(), ["check", "--config", folder.file("gateway.conf")])
        #expect(check.status == .code(78))
        #expect(check.error.hasSuffix(result.error))
    }

    @Test(arguments: [
        ("issuer i { issuer https://i.example; audience a; jwks_file broken; }", "{\"keys\":[{"),
        ("issuer i { issuer https://i.example; audience a; jwks_file broken; }", "[]"),
        ("client c { oauth1_rsa_key broken; }", "-----BEGIN PUBLIC KEY-----\nAAAA\n"),
        ("client c { secret_file broken; }", ""),
    ])
    func aBrokenFileIsNamed(_ directive: String, _ content: String) throws {
        try folder.write("broken", content)
        let lines = Self.expect(
            try start(Self.conf(directive)), code: 78, says: folder.file("broken"))
        #expect(lines.count == 1)
    }

    // MARK: The store

    static func sqlite(_ rest: String = "", _ path: String = "state.db") -> String {
        conf(
            "authority { issuer http://a.example; audience a; } \(rest)",
            store: "store sqlite { path \(path); }")
    }

    /// Makes a database by a first run.
    func makeStore() throws {
        let gateway = try Gateway(Self.sqlite(), in: folder)
        #expect(gateway.process.end() == .code(0))
    }

    @Test func aFolderThatIsNotThere() throws {
        let lines = Self.expect(
            try start(Self.sqlite("", "absent/state.db")), code: 69, says: "absent")
        #expect(lines.count == 1)
    }

    @Test func aFolderThatMayNotBeWritten() throws {
        // Root may write everywhere: then another user must try.
        let prefix =
            geteuid() == 0
            ? [
                try requireTool("setpriv", package: "util-linux"), "--reuid=65534",
                "--clear-groups",
            ] : []
        let path = try folder.write("gateway.conf", Self.sqlite(), mode: 0o644)
        chmod(folder.path, 0o555)
        defer { chmod(folder.path, 0o700) }
        let command = prefix + [try gatehouseBinary(), "serve", "--config", path]
        let result = try run(command[0], Array(command.dropFirst()), within: .seconds(20))
        let lines = Self.expect(result, code: 77, says: folder.path)
        #expect(lines.count == 1)
        #expect(lines.first?.lowercased().contains("permission denied") == true)
    }

    @Test func theWrongSecretsKey() throws {
        try makeStore()
        try folder.write("secrets.key", String(repeating: "k", count: 32))
        let lines = Self.expect(try start(Self.sqlite()), code: 69, says: "secrets key")
        #expect(lines.count == 1)
    }

    @Test func aSecretsKeyThatIsNone() throws {
        try folder.write("secrets.key", "too short")
        let lines = Self.expect(
            try start(Self.sqlite()), code: 69, says: folder.file("secrets.key"))
        #expect(lines.count == 1)
    }

    func execute(_ statement: String) throws {
        let python = try requirePython(module: "sqlite3", package: "python3")
        let script = "import sqlite3,sys; sqlite3.connect(sys.argv[1]).execute(sys.argv[2])"
        let result = try run(python, ["-c", script, folder.file("state.db"), statement])
        #expect(result.status == .code(0), "\(result.error)")
    }

    @Test func aNewerDatabase() throws {
        try makeStore()
        try execute("PRAGMA user_version = 999")
        let lines = Self.expect(try start(Self.sqlite()), code: 69, says: "999")
        #expect(lines.count == 1)
    }

    @Test func aDatabaseOfAnotherProgram() throws {
        try execute("CREATE TABLE theirs (a)")
        let lines = Self.expect(try start(Self.sqlite()), code: 69, says: "another program")
        #expect(lines.count == 1)
    }

    @Test func aDatabaseThatIsNone() throws {
        try folder.write("state.db", String(repeating: "not a database ", count: 100))
        let lines = Self.expect(try start(Self.sqlite()), code: 69, says: "not a database")
        #expect(lines.count == 1)
    }

    @Test func aStoreThatAnotherGatewayServes() throws {
        let gateway = try Gateway(Self.sqlite(), in: folder)
        let lines = Self.expect(
            try start(Self.sqlite()), code: 69, says: "another running gateway")
        #expect(lines.count == 1)
        #expect(gateway.process.exitStatus == nil)
    }
}
