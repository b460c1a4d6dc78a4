import OAuth
import Primitives
import Testing

/// When an `htu` names the target of a request (RFC 3986 sections 6.2.2 and 6.2.3), and nonces.
struct DPoPTargetTests {
    private func target(_ url: String) throws -> DPoPTarget? {
        let parts = try URLParts(url)
        return DPoPTarget(
            isTLS: parts.isTLS, authority: Array(parts.authority.utf8),
            path: Array(parts.path.utf8))
    }

    @Test(arguments: [
        ("https://h", "https://h/"), ("https://h:443/p", "https://H/p"),
        ("http://h:80/", "http://h"), ("https://h:/p", "https://h:0443/p"),
        ("https://h:8443/p", "https://h:08443/p"), ("https://[::A]:443/", "https://[::a]/"),
        ("https://h/%7Ea%2d", "https://h/~a-"), ("https://h/%c3%a9", "https://h/%C3%A9"),
        ("https://h/a/./b/../c", "https://h/a/c"), ("https://h/a/..", "https://h/"),
        ("https://h/../a/.", "https://h/a/"), ("https://h/%2e%2E/a", "https://h/a"),
        ("https://h/a//b", "https://h/a//b"), ("https://h/a%2Fb", "https://h/a%2fb"),
    ])
    func thoseAreTheSame(one: String, other: String) throws {
        let target = try #require(try target(one))
        #expect(try self.target(other) == target)
    }

    @Test(arguments: [
        ("https://h/a", "http://h/a"), ("https://h/a", "https://h/a/"),
        ("https://h/a", "https://h/A"), ("https://h/a/b", "https://h/a%2Fb"),
        ("https://h/a//b", "https://h/a/b"), ("https://h:8443/", "https://h/"),
        ("https://h:80/", "https://h/"), ("https://h/", "https://h./"),
        ("https://[::1]/", "https://[::1]:1/"), ("https://h/%25", "https://h/%2525"),
    ])
    func thoseAreNot(one: String, other: String) throws {
        let target = try #require(try target(one))
        #expect(try self.target(other) != target)
    }

    @Test(arguments: [
        ("", "/"), ("u@h", "/"), ("h%41", "/"), (":443", "/"), ("h:x", "/"), ("h:123456789", "/"),
        ("h h", "/"), ("h", "a"), ("h", "*"), ("h", "/%"), ("h", "/%4"), ("h", "/%zz"),
        ("h", "/\u{e9}"), ("h", "/a b"),
    ])
    func whatIsNoTargetEqualsNothing(authority: String, path: String) {
        #expect(
            DPoPTarget(isTLS: true, authority: Array(authority.utf8), path: Array(path.utf8))
                == nil)
    }

    // MARK: Nonces

    private let key = Secret(Array(0..<32))

    @Test func aNonceHoldsForItsSpanAndTheNext() throws {
        let nonces = try #require(DPoPNonce(key: key, rotationSeconds: 300))
        let start = WallTime(seconds: 3_000_000)
        let nonce = try nonces.current(at: start)
        #expect(nonce.utf8.count == 22)
        #expect(Base64.decode(nonce, .url)?.count == 16)
        for (offset, isAccepted) in [
            (0, true), (299, true), (300, true), (599, true), (600, false),
            // By a clock that is behind the one that gave it out.
            (-1, true), (-300, true), (-301, false),
        ] {
            let now = WallTime(seconds: 3_000_000 + Int64(offset))
            #expect(nonces.accepts(nonce, at: now) == isAccepted, "\(offset)")
            #expect((try nonces.current(at: now) == nonce) == (0..<300 ~= offset))
        }
        for other in ["", nonce + "A", String(nonce.dropLast()), nonce.lowercased() + "x"] {
            #expect(!nonces.accepts(other, at: start))
        }
    }

    /// Workers, and instances of a fleet, share the key and with it every nonce; others share none.
    @Test func theKeyAloneDecides() throws {
        let now = WallTime(seconds: 1_767_225_600)
        let one = try #require(DPoPNonce(key: key))
        let same = try #require(DPoPNonce(key: key))
        let other = try #require(DPoPNonce(key: Secret(Array(1..<33))))
        let slower = try #require(DPoPNonce(key: key, rotationSeconds: 600))
        let nonce = try one.current(at: now)
        #expect(same.accepts(nonce, at: now))
        #expect(!other.accepts(nonce, at: now))
        #expect(!slower.accepts(nonce, at: now))
        var text = ""
        dump(one, to: &text)
        #expect(text.contains("redacted"))
    }

    @Test func aKeyHasThirtyTwoBytes() {
        for count in [0, 16, 31, 33] {
            #expect(DPoPNonce(key: Secret(Array(repeating: 1, count: count))) == nil)
        }
        for seconds: Int64 in [0, -1] {
            #expect(DPoPNonce(key: key, rotationSeconds: seconds) == nil)
        }
    }
}
