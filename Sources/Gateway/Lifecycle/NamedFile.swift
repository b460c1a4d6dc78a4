import Glibc
import Primitives

/// Files that the conf names. Only threads that may block read them.
enum NamedFile {
    /// The content, at most `limit` bytes of it.
    static func read(_ path: String, limit: Int) throws(StartError) -> [UInt8] {
        let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else {
            throw StartError(.configuration, "\(path): \(text(errno))")
        }
        defer { _ = close(descriptor) }
        var content: [UInt8] = []
        var piece = [UInt8](repeating: 0, count: 16 << 10)
        while true {
            let count = unsafe Glibc.read(descriptor, &piece, piece.count)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw StartError(.configuration, "\(path): \(text(errno))") }
            if count == 0 { return content }
            content += piece[..<count]
            guard content.count <= limit else {
                throw StartError(.configuration, "\(path): larger than \(limit) bytes")
            }
        }
    }

    /// A secret, without the one line end that editors leave at its end.
    static func secret(_ path: String) throws(StartError) -> Secret {
        var bytes = try read(path, limit: 64 << 10)
        if bytes.last == 0x0A {
            bytes.removeLast()
            if bytes.last == 0x0D { bytes.removeLast() }
        }
        guard !bytes.isEmpty else { throw StartError(.configuration, "\(path): the secret is empty") }
        return Secret(bytes)
    }

    private static func text(_ code: Int32) -> String {
        switch code {
        case ENOENT: "no such file"
        case EACCES: "permission denied"
        case EISDIR: "is a directory"
        default: "error \(code)"
        }
    }
}
