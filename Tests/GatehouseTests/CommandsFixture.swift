import Foundation
import TestSupport
import Testing

/// A conf with its files in a folder of its own, and the program to run on it.
struct CommandFixture {
    let folder: TemporaryDirectory
    let binary: String
    let port: UInt16
    let conf: String

    /// The secret, in the conf, of the client `declared`.
    static let declaredSecret = "a-secret-of-the-conf"

    /// - Parameters:
    ///   - upstream: a port of 127.0.0.1.
    ///   - store: the directive that says where the state lies.
    init(upstream: UInt16 = 9, store: String? = nil, more: String = "") throws {
        folder = try TemporaryDirectory()
        binary = try gatehouseBinary()
        port = try freePort()
        let secret = try folder.write("declared.secret", Self.declaredSecret + "\n")
        let store = store ?? "store sqlite { path \(folder.file("state.db")); }"
        conf = try folder.write(
            "gateway.conf",
            """
            workers 1;
            shutdown_timeout 1s;
            listener api { address 127.0.0.1:\(port); }
            \(store)
            secrets { key_file \(folder.file("secrets.key")); }
            authority { issuer http://127.0.0.1:\(port); audience orders;
                scopes orders.read orders.write; }
            client declared { secret_file \(secret); oauth1_secret_file \(secret);
                scopes orders.read; }
            oauth1 { signature_methods HMAC-SHA1 HMAC-SHA256; }
            upstream orders { server 127.0.0.1:\(upstream); }
            route /orders { upstream orders; require scope orders.read;
                require scope orders.write on POST PUT; methods GET POST PUT; limits { body 1k; } }
            route /open { upstream orders; authenticate none; }
            route /both { upstream orders; authenticate all bearer oauth1; }
            route /bearer { upstream orders; authenticate any bearer; require client declared; }
            route /inside { upstream orders; authenticate none; allow 10.0.0.0/8; }
            \(more)
            """)
    }

    /// Runs a command that reads the conf.
    func gatehouse(_ arguments: String..., input: String = "") throws -> CommandResult {
        try gatehouse(arguments, input: input)
    }

    func gatehouse(_ arguments: [String], input: String = "") throws -> CommandResult {
        try run(binary, arguments + ["--config", conf], input: input)
    }

    /// Runs a command that must succeed, and gives its output without the last line end.
    func output(_ arguments: String..., input: String = "") throws -> String {
        let result = try gatehouse(arguments, input: input)
        guard result.status == .code(0) else {
            throw Failure("\(arguments): \(result.status): \(result.error)")
        }
        return result.output.trimmingCharacters(in: .newlines)
    }

    func object(_ arguments: String..., input: String = "") throws -> [String: Any] {
        try #require(try json(arguments, input: input) as? [String: Any])
    }

    func list(_ arguments: String...) throws -> [[String: Any]] {
        try #require(try json(arguments) as? [[String: Any]])
    }

    private func json(_ arguments: [String], input: String = "") throws -> Any {
        let result = try gatehouse(arguments + ["--json"], input: input)
        guard result.status == .code(0) else {
            throw Failure("\(arguments): \(result.status): \(result.error)")
        }
        return try JSONSerialization.jsonObject(with: Data(result.output.utf8))
    }

    /// The Authorization line of a request that `declared` signs, or another consumer.
    func signed(
        _ method: String, _ path: String, consumer: String = "declared", secret: String? = nil,
        _ more: String...
    ) throws -> String {
        let file = try secret.map { try folder.write("sign.secret", $0) }
        let result = try run(
            binary,
            [
                "sign", "--consumer-key", consumer, "--consumer-secret-file",
                file ?? folder.file("declared.secret"),
            ] + more + [method, "http://127.0.0.1:\(port)\(path)"])
        guard result.status == .code(0) else { throw Failure(result.error) }
        return result.output.trimmingCharacters(in: .newlines)
    }

    /// What somebody does to the database in an SQLite shell.
    func sql(_ statement: String) throws {
        let script =
            "import sqlite3, sys; d = sqlite3.connect(sys.argv[1]); d.execute(sys.argv[2]); d.commit()"
        let python = try requireTool("python3", package: "python3")
        let result = try run(python, ["-c", script, folder.file("state.db"), statement])
        guard result.status == .code(0) else { throw Failure(result.error) }
    }

    func start() throws -> RunningProcess {
        let process = try RunningProcess(binary, ["serve", "--config", conf])
        try process.waitForPort(port)
        return process
    }

    /// Sends a raw request on a connection of its own.
    func send(_ request: String) throws -> HTTPReply {
        let client = try TCPClient(port: port)
        try client.send(request)
        return try client.readReply(isBodyless: request.hasPrefix("HEAD "))
    }

    /// What the token endpoint answers to a client with this secret.
    func tokenStatus(_ id: String, _ secret: String) throws -> Int {
        let basic = Data("\(id):\(secret)".utf8).base64EncodedString()
        let form = "grant_type=client_credentials"
        return try send(
            request(
                "POST /oauth2/token",
                [
                    "Authorization: Basic \(basic)",
                    "Content-Type: application/x-www-form-urlencoded",
                ], body: form)
        ).status
    }

    /// A request head (and body, with its length) as it goes over the wire.
    func request(_ line: String, _ fields: [String] = [], body: String? = nil) -> String {
        let length = body.map { ["Content-Length: \($0.utf8.count)"] } ?? []
        let lines = ["\(line) HTTP/1.1", "Host: 127.0.0.1:\(port)"] + fields + length
        return lines.joined(separator: "\r\n") + "\r\n\r\n" + (body ?? "")
    }
}

/// The value behind `name: ` of a command's output.
func value(_ name: String, in text: String) -> String? {
    text.split(separator: "\n").first { $0.hasPrefix("\(name): ") }
        .map { String($0.dropFirst(name.count + 2)) }
}
