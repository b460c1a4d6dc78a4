import HTTP
import Testing

struct FieldNameTests {
    static func lookup(_ name: String) -> FieldName { FieldName.lookup(Array(name.utf8).span) }

    static func text(_ name: FieldName) -> String { "\(name.text)" }

    @Test func everyNameIsFoundInAnyCase() {
        #expect(FieldName.allCases.count == 32)
        for name in FieldName.allCases where name != .other && name != .identity {
            let text = Self.text(name)
            #expect(!text.isEmpty)
            let mixed = String(
                text.enumerated().map {
                    $0.offset % 2 == 0 ? Character($0.element.uppercased()) : $0.element
                })
            for spelling in [text, text.uppercased(), mixed] {
                #expect(Self.lookup(spelling) == name, "\(spelling)")
            }
        }
    }

    @Test func aNearMissIsAnotherField() {
        for name in FieldName.allCases where name != .other && name != .identity {
            let text = Self.text(name)
            for index in text.indices {
                var changed = text
                changed.replaceSubrange(index...index, with: text[index] == "z" ? "q" : "z")
                #expect(Self.lookup(changed) == .other, "\(changed)")
                // A byte that differs from a letter in the bit of its case alone: `@` for "`", `[` for `{`.
                changed = text
                let flipped = String(
                    decoding: [(text[index].asciiValue ?? 0) ^ 0x40], as: UTF8.self)
                changed.replaceSubrange(index...index, with: flipped)
                #expect(Self.lookup(changed) == .other, "\(changed)")
            }
            #expect(Self.lookup(text + "s") != name)
            #expect(Self.lookup(String(text.dropLast())) != name)
        }
        #expect(Self.lookup("") == .other)
        #expect(Self.lookup(String(repeating: "a", count: 300)) == .other)
    }

    /// Framing, host and credentials are never read from a second spelling.
    @Test(arguments: [
        "Content_Length", "Transfer_Encoding", "User_Agent", "Content.Length", "X_Forwarded_For",
    ])
    func onlyIdentityIsFolded(name: String) {
        #expect(Self.lookup(name) == .other)
    }

    @Test(arguments: ["Scheme", "Client", "Subject", "Scopes", "Issuer", "Shadow"])
    func identityIsFoundInEverySpelling(suffix: String) {
        for separators in ["--", "__", "-_", "_-", "..", "~+", "'|"] {
            let parts = Array(separators).map(String.init)
            let name = "X" + parts[0] + "Auth" + parts[1] + suffix
            for spelling in [name, name.lowercased(), name.uppercased()] {
                #expect(Self.lookup(spelling) == .identity, "\(spelling)")
            }
        }
    }

    @Test(arguments: [
        "X-Auth-", "X-Auth-Clien", "X-Auth-Clients", "Y-Auth-Client", "XX-Auth-Client",
        "X-Auth0Client", "XAuthClient", "X-Auth-Chient", "X-Auth-Subjekt",
    ])
    func otherNamesAreNotIdentity(name: String) {
        #expect(Self.lookup(name) == .other)
    }

    @Test func hopByHopFields() {
        let names = FieldName.allCases.filter(\.isHopByHop)
        #expect(
            Set(names) == [
                .connection, .keepAlive, .proxyConnection, .te, .trailer, .transferEncoding,
                .upgrade, .http2Settings, .proxyAuthenticate, .proxyAuthorization,
            ])
    }
}

extension FieldNameTests {
    /// Eight bytes at a time or one: each byte counts, and only letters have a case.
    @Test func everyByteOfANameCounts() {
        for name in FieldName.allCases where name != .other && name != .identity {
            let text = Array("\(name.text)".utf8)
            #expect(FieldName.lookup(text.span) == name)
            #expect(FieldName.lookup(Array("\(name.text)".uppercased().utf8).span) == name)
            for index in text.indices {
                for byte in UInt8.min...UInt8.max {
                    var other = text
                    other[index] = byte
                    let isCaseAlone =
                        byte == text[index]
                        || (byte &- 0x41 < 26 && byte | 0x20 == text[index])
                    #expect((FieldName.lookup(other.span) == name) == isCaseAlone)
                }
            }
        }
    }
}
