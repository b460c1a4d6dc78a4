import Foundation
import Primitives
import TestSupport
import Testing
import Transport

@testable import Store

/// Where the tests that hold for every store are run.
enum Backend: CaseIterable {
    case memory, sqlite, redis
    case redisWithTLS
    /// As a user that may do what docs/directives.md says, and no more.
    case redisWithACL

    /// Those that one gateway has for itself.
    static let local = [Backend.memory, .sqlite]
}

/// Opens a store of any kind, new for each test.
final class Bench: Sendable {
    let folder: TemporaryFolder
    let key: SecretsKey
    /// Of this test alone on the one server.
    let prefix = "gatehouse-test-\(UUID().uuidString):"

    init(key: SecretsKey? = nil) throws {
        folder = try TemporaryFolder()
        self.key = try key ?? .generate()
    }

    func open(
        _ backend: Backend, pollInterval: Duration = .milliseconds(10)
    ) throws -> StateStore {
        let location: StateStoreLocation =
            switch backend {
            case .memory: .memory
            case .sqlite: .sqlite(path: folder.file("state.db"))
            case .redis, .redisWithTLS, .redisWithACL:
                .redis(try CommonRedis.shared.get().location(backend, prefix: prefix))
            }
        let store = try StateStore(location: location, secretsKey: key, pollInterval: pollInterval)
        if case .redis = location {
            try CommonRedis.shared.get().server.forgetTheLoss(prefix: prefix)
        }
        return store
    }
}

/// One server for all tests that do it no harm: in clear, by TLS, and with a user of few rights.
final class CommonRedis: Sendable {
    static let shared = Result { try CommonRedis() }

    /// As docs/directives.md says.
    static let rights =
        "~gatehouse* +@connection +@scripting +get +set +del +mget +exists +type +pttl "
        + "+scan +hget +hset +hdel +hmget +hgetall +zadd +zrem +zrangebyscore +time +role +info"

    let server: TestRedis
    private let authority: TestAuthority
    private let tlsPort: UInt16

    private init() throws {
        authority = try TestAuthority()
        tlsPort = try freePort()
        let issued = try authority.issue("redis", ["IP:127.0.0.1"])
        let rights = Self.rights.split(separator: " ").map(String.init)
        server = try TestRedis(
            [
                "--tls-port", "\(tlsPort)", "--tls-cert-file", issued.certificate,
                "--tls-key-file", issued.key, "--tls-ca-cert-file", authority.certificate,
                "--tls-auth-clients", "no", "--user", "gateway", "on", ">its-password",
            ] + rights)
    }

    func location(_ backend: Backend, prefix: String) throws -> RedisLocation {
        var location = server.location(prefix: prefix)
        switch backend {
        case .redisWithTLS:
            location.addresses = [.ip(.v4(0x7F00_0001), port: tlsPort)]
            var settings = TLSClientContext.Settings()
            settings.authorities = Array(
                try Data(contentsOf: URL(fileURLWithPath: authority.certificate)))
            location.tls = try TLSClientContext(settings)
        case .redisWithACL:
            location.username = "gateway"
            location.password = Secret(utf8: "its-password")
        case .memory, .sqlite, .redis: break
        }
        return location
    }
}

extension TestRedis {
    /// With time enough for a machine that is busy.
    func location(
        prefix: String = "gatehouse:", timeout: Duration = .seconds(10)
    ) -> RedisLocation {
        RedisLocation(
            addresses: [.ip(.v4(0x7F00_0001), port: port)], prefix: prefix, timeout: timeout)
    }
}
