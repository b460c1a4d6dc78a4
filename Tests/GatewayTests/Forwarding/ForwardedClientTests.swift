import HTTP
import Primitives
import TestSupport
import Testing

@testable import Gateway

/// What is believed of forwarding fields: those of trusted proxies, read from the right.
struct ForwardedClientTests {
    static let trusted = ["10.0.0.0/8", "2001:db8:1::/48"].compactMap { IPPrefix($0) }

    static func client(_ fields: String, from peer: String = "10.0.0.1") throws -> ForwardedClient?
    {
        try ForwardedClient(
            requestHead("GET / HTTP/1.1\nHost: h\n" + fields), peer: IPAddress(peer),
            trusted: trusted)
    }

    struct Case: Sendable {
        let fields: String
        let client: String
        let proxies: [String]
        var isTLS: Bool?
        var authority: String?
    }

    static let cases: [Case] = [
        Case(fields: "X-Forwarded-For: 192.0.2.1", client: "192.0.2.1", proxies: ["10.0.0.1"]),
        // What stands left of the first untrusted address is the client's invention.
        Case(
            fields: "X-Forwarded-For: 127.0.0.1, 192.0.2.1", client: "192.0.2.1",
            proxies: ["10.0.0.1"]),
        Case(
            fields: "X-Forwarded-For: 192.0.2.9, 192.0.2.1, 10.2.0.1 ,\t10.3.0.1",
            client: "192.0.2.1",
            proxies: ["10.2.0.1", "10.3.0.1", "10.0.0.1"]),
        Case(
            fields: "X-Forwarded-For: 192.0.2.1\nX-Forwarded-For: 10.3.0.1", client: "192.0.2.1",
            proxies: ["10.3.0.1", "10.0.0.1"]),
        // All of them trusted: the furthest is the client.
        Case(
            fields: "X-Forwarded-For: 10.9.0.1, 10.3.0.1", client: "10.9.0.1",
            proxies: ["10.3.0.1", "10.0.0.1"]),
        Case(fields: "X-Forwarded-For: 192.0.2.1:4711", client: "192.0.2.1", proxies: ["10.0.0.1"]),
        Case(
            fields: "X-Forwarded-For: [2001:db8::7]:4711", client: "2001:db8::7",
            proxies: ["10.0.0.1"]),
        Case(fields: "X-Forwarded-For: 2001:db8::7", client: "2001:db8::7", proxies: ["10.0.0.1"]),
        Case(
            fields: "X-Forwarded-For: ::ffff:192.0.2.1", client: "192.0.2.1", proxies: ["10.0.0.1"]),
        Case(
            fields: "X-Forwarded-For: 192.0.2.1, unknown", client: "unknown", proxies: ["10.0.0.1"]),
        Case(
            fields:
                "X-Forwarded-For: 192.0.2.1\nX-Forwarded-Proto: HTTPS\nX-Forwarded-Host: Api.Example:8443",
            client: "192.0.2.1", proxies: ["10.0.0.1"], isTLS: true, authority: "Api.Example:8443"),
        // One value each for two proxies: the one at the client's place counts.
        Case(
            fields: "X-Forwarded-For: 192.0.2.1, 10.3.0.1\nX-Forwarded-Proto: https, http",
            client: "192.0.2.1", proxies: ["10.3.0.1", "10.0.0.1"], isTLS: true),
        Case(
            fields: "X-Forwarded-For: 1.2.3.4, 192.0.2.1\nX-Forwarded-Proto: https, http",
            client: "192.0.2.1", proxies: ["10.0.0.1"], isTLS: false),
        // What a proxy of the other family passes on of the client's own.
        Case(
            fields: "Forwarded: for=192.0.2.1\nX-Forwarded-Proto: https\nX-Forwarded-Host: evil",
            client: "192.0.2.1", proxies: ["10.0.0.1"]),
        Case(
            fields: "X-Forwarded-For: 192.0.2.1\nX-Forwarded-Proto: gopher\nX-Forwarded-Host: a\"b",
            client: "192.0.2.1", proxies: ["10.0.0.1"]),
        Case(
            fields: "Forwarded: proto=https", client: "unknown", proxies: ["10.0.0.1"], isTLS: true),
        Case(
            fields: "Forwarded: for=192.0.2.1;proto=https;host=\"api.example:8443\"",
            client: "192.0.2.1", proxies: ["10.0.0.1"], isTLS: true, authority: "api.example:8443"),
        Case(
            fields:
                "Forwarded: for=1.1.1.1;proto=http, For=\"[2001:db8::7]:4711\";Proto=https , for=10.3.0.1",
            client: "2001:db8::7", proxies: ["10.3.0.1", "10.0.0.1"], isTLS: true),
        Case(fields: "Forwarded: for=_hidden;by=x", client: "unknown", proxies: ["10.0.0.1"]),
        Case(
            fields: "Forwarded: for=\"192.0.2.1\";ext=\"a,b;c\\\"d\"", client: "192.0.2.1",
            proxies: ["10.0.0.1"]),
        // Both families, of one mind about the client; the rest is X-Forwarded-*'s.
        Case(
            fields: "X-Forwarded-For: 192.0.2.1\nForwarded: for=192.0.2.1;proto=https",
            client: "192.0.2.1", proxies: ["10.0.0.1"]),
    ]

    @Test(arguments: cases) func theClientIsTheFirstWhomNoProxyVouchesFor(expected: Case) throws {
        let client = try #require(try Self.client(expected.fields))
        #expect(text(client.text) == expected.client)
        #expect(client.address == IPAddress(expected.client))
        #expect(client.proxies.map(text) == expected.proxies)
        #expect(client.isTLS == expected.isTLS)
        #expect(client.authority.map(text) == expected.authority)
    }

    func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }

    @Test(arguments: ["192.0.2.50", "2001:db8:2::1"]) func nobodyElseIsBelieved(peer: String) throws
    {
        #expect(
            try Self.client("X-Forwarded-For: 127.0.0.1\nForwarded: for=127.0.0.1", from: peer)
                == nil)
        #expect(try Self.client("Accept: a") == nil)
        #expect(try Self.client("X-Forwarded-Proto: https\nX-Forwarded-Host: evil") == nil)
        let head = try requestHead("GET / HTTP/1.1\nHost: h\nX-Forwarded-For: 127.0.0.1")
        #expect(try ForwardedClient(head, peer: nil, trusted: Self.trusted) == nil)
    }

    @Test(arguments: [
        "X-Forwarded-For: nonsense", "X-Forwarded-For: 192.0.2.1.4",
        "X-Forwarded-For: 192.0.2.1 1.1.1.1",
        "Forwarded: for", "Forwarded: for=\"192.0.2.1", "Forwarded: for=192.0.2.1;for=192.0.2.2",
        "X-Forwarded-For: " + Array(repeating: "10.0.0.9", count: 65).joined(separator: ","),
    ])
    func whatCannotBeReadIsRefused(fields: String) {
        #expect(throws: ForwardedClient.Fault.malformed) { try Self.client(fields) }
    }

    @Test(arguments: [
        "X-Forwarded-For: 192.0.2.1\nForwarded: for=127.0.0.1",
        "X-Forwarded-For: 127.0.0.1\nForwarded: for=192.0.2.1",
        "X-Forwarded-For: 192.0.2.1\nForwarded: for=unknown",
    ])
    func twoStoriesAreNone(fields: String) {
        #expect(throws: ForwardedClient.Fault.contradictory) { try Self.client(fields) }
    }
}
