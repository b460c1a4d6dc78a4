import Foundation
import Glibc
import Primitives
import Synchronization
import Testing

@testable import Store

struct SecretsKeyTests {
    private let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    @Test func aKeyIsMadeOnceForItsOwnerAlone() throws {
        let path = folder.file("secrets.key")
        let made = try SecretsKey.loadOrMake(path: path)
        #expect(made.secret.count == 32)
        #expect(!made.isReadableByOthers)
        #expect(try folder.mode("secrets.key") == 0o600)
        #expect(try SecretsKey.loadOrMake(path: path).secret == made.secret)
        let text = try folder.read("secrets.key")
        #expect(text.count == 45 && text.last == 0x0A)
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path).count == 1)
    }

    @Test func eightStartsAtOnceGetOneKey() throws {
        let path = folder.file("secrets.key")
        let keys = Mutex<[[UInt8]]>([])
        DispatchQueue.concurrentPerform(iterations: 8) { _ in
            guard let key = try? SecretsKey.loadOrMake(path: path) else { return }
            keys.withLock { $0.append(key.secret.exposed) }
        }
        #expect(keys.withLock { $0.count } == 8)
        #expect(Set(keys.withLock { $0 }).count == 1)
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path).count == 1)
    }

    @Test(arguments: [
        ("raw", [UInt8](0..<32)),
        ("raw with newline", [UInt8](0..<32) + [0x0A]),
        ("raw that ends in a newline", [UInt8](0..<31) + [0x0A]),
        ("base64", Array("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=".utf8)),
        ("base64 with newline", Array("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n".utf8)),
    ])
    func theseAreKeys(name: String, bytes: [UInt8]) throws {
        try folder.write(bytes, to: "secrets.key")
        let expected =
            name == "raw that ends in a newline" ? [UInt8](0..<31) + [0x0A] : [UInt8](0..<32)
        let key = try SecretsKey.loadOrMake(path: folder.file("secrets.key"))
        #expect(key.secret.exposed == expected)
    }

    @Test(arguments: [
        "", "\n", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n\n",
        "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8", "short",
        "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIj",
        String(repeating: "a", count: 100_000),
    ])
    func theseAreNone(text: String) throws {
        let path = folder.file("secrets.key")
        try folder.write(Array(text.utf8), to: "secrets.key")
        #expect(
            throws: StoreError.keyFile(
                path: path, reason: "expected 32 bytes, or 44 characters of base64")
        ) { try SecretsKey.loadOrMake(path: path) }
        #expect(try folder.read("secrets.key") == Array(text.utf8))
    }

    @Test func aFolderThatIsNotThereAndAFolderInItsPlaceAreNamed() throws {
        let missing = folder.file("missing/secrets.key")
        #expect(
            throws: StoreError.keyFile(path: missing, reason: "No such file or directory")
        ) { try SecretsKey.loadOrMake(path: missing) }
        #expect(throws: StoreError.keyFile(path: folder.path, reason: "Is a directory")) {
            try SecretsKey.loadOrMake(path: folder.path)
        }
    }

    @Test func aFileThatOthersMayReadIsSaidToBe() throws {
        let path = folder.file("secrets.key")
        _ = try SecretsKey.loadOrMake(path: path)
        #expect(chmod(path, 0o640) == 0)
        #expect(try SecretsKey.loadOrMake(path: path).isReadableByOthers)
    }
}
