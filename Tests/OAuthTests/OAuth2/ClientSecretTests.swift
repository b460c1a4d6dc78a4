import OAuth
import Primitives
import Testing

struct ClientSecretTests {
    /// SHA-256 of the 16 bytes 00…0f and "secret", computed with Python's hashlib.
    private let known =
        "sha256$AAECAwQFBgcICQoLDA0ODw$Z1V8DYYXnEUZnwlthbeusrizS_QjxAO6UX9yvMWRPEw"

    @Test func aHashOfTheKnownForm() {
        #expect(ClientSecret.verify(Secret(utf8: "secret"), against: known))
        #expect(!ClientSecret.verify(Secret(utf8: "Secret"), against: known))
        #expect(!ClientSecret.verify(Secret(utf8: ""), against: known))
    }

    @Test func aHashMatchesItsSecretAloneAndHasItsOwnSalt() throws {
        let secret = try ClientSecret.generate()
        let hashes = [try ClientSecret.hash(secret), try ClientSecret.hash(secret)]
        #expect(hashes[0] != hashes[1])
        for hash in hashes {
            #expect(ClientSecret.isHash(hash))
            #expect(ClientSecret.verify(secret, against: hash))
            #expect(!ClientSecret.verify(try ClientSecret.generate(), against: hash))
        }
    }

    @Test func aNewSecretIs43CharactersOfBase64URL() throws {
        let secret = try ClientSecret.generate()
        #expect(secret.count == 43)
        #expect(Base64.decode(String(decoding: secret.exposed, as: UTF8.self), .url)?.count == 32)
    }

    @Test func theDecoyIsAHashThatNothingMatches() throws {
        #expect(ClientSecret.isHash(ClientSecret.decoy))
        #expect(!ClientSecret.verify(Secret(utf8: ""), against: ClientSecret.decoy))
        #expect(!ClientSecret.verify(try ClientSecret.generate(), against: ClientSecret.decoy))
    }

    @Test(arguments: [
        "", "secret", "$$", "sha256$$", "sha256$AAECAwQFBgcICQoLDA0ODw$",
        "sha1$AAECAwQFBgcICQoLDA0ODw$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "sha256$AAEC$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "sha256$AAECAwQFBgcICQoLDA0ODw$AAAA",
        "sha256$AAECAwQFBgcICQoLDA0ODw==$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "sha256$AAECAwQFBgcICQoLDA0ODw$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA$x",
    ])
    func whatIsNoHashMatchesNothing(text: String) {
        #expect(!ClientSecret.isHash(text))
        #expect(!ClientSecret.verify(Secret(utf8: "secret"), against: text))
        #expect(!ClientSecret.verify(Secret(utf8: text), against: text))
    }
}
