import Foundation
import TestSupport
import Testing

/// RFC 9113 case by case, and clients that try to cost more than they pay; both by raw frames.
@Suite(.serialized)
struct HTTP2ConformanceTests {
    private let upstream: ScriptedUpstream
    private let authority: TestAuthority
    private let gateway: Gateway

    init() throws {
        let big = String(repeating: "z", count: 300_000)
        upstream = try ScriptedUpstream { request in
            [.respond(body: request.requestLine.hasPrefix("GET /big ") ? big : "ok")]
        }
        authority = try TestAuthority()
        try authority.issue("one", ["DNS:localhost"])
        gateway = try Gateway(
            testConf(
                listener: "protocols h2c http/1.1;",
                """
                listener tls { address 127.0.0.1:0; tls { certificate one.crt; key one.key; } }
                upstream app { server 127.0.0.1:\(upstream.port); }
                route / { upstream app; authenticate none; }
                """), in: authority.folder)
    }

    private func lines(
        of script: String, _ arguments: [String], environment: [String: String?] = [:]
    ) throws -> [String] {
        let python = try requirePython(module: "hpack", package: "python3-hpack")
        let path = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .appendingPathComponent(script).path
        let port = try gateway.port(of: environment.isEmpty ? "api" : "tls")
        let result = try run(python, [path, "\(port)"] + arguments, environment: environment)
        #expect(result.status == .code(0), "\(result.error)")
        return result.output.split(separator: "\n").map(String.init)
    }

    @Test func everyMustOnMalformedInput() throws {
        #expect(try lines(of: "http2_conformance.py", []) == ["185 passed, 0 failed"])
        #expect(gateway.process.exitStatus == nil)
    }

    @Test func everyMustOverTLSToo() throws {
        let lines = try lines(
            of: "http2_conformance.py", [],
            environment: ["TLS_AUTHORITY": authority.certificate])
        #expect(lines == ["185 passed, 0 failed"])
        #expect(gateway.process.exitStatus == nil)
    }

    @Test func floodsEndAtABound() throws {
        let lines = try lines(of: "http2_floods.py", ["\(gateway.process.pid)"])
        #expect(lines.filter { $0.hasPrefix("FAIL") } == [])
        #expect(lines.last == "24 passed, 0 failed")
        #expect(gateway.process.exitStatus == nil)
    }

    @Test func floodsEndAtABoundOverTLSToo() throws {
        let floods = [
            "rapid_reset", "continuation_endless", "hpack_bomb", "pings",
            "setting_after_setting", "empty_data",
        ]
        let lines = try lines(
            of: "http2_floods.py",
            ["\(gateway.process.pid)", "\(gateway.port)"] + floods,
            environment: ["TLS_AUTHORITY": authority.certificate])
        #expect(lines.filter { $0.hasPrefix("FAIL") } == [])
        #expect(lines.last == "6 passed, 0 failed")
        #expect(gateway.process.exitStatus == nil)
    }
}
