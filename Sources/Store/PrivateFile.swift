import Glibc

/// A file that its owner alone may read: the database, its lock and the secrets key.
///
/// It owns the descriptor and closes it once.
struct PrivateFile: ~Copyable {
    /// A system call that failed, as its `errno`.
    struct Failure: Error, Equatable {
        let code: Int32

        var reason: String { unsafe String(cString: strerror(code)) }
    }

    let descriptor: Int32

    /// Opens a file that exists (or is made with mode 0600 when `flags` has O_CREAT).
    init(path: String, flags: Int32) throws(Failure) {
        descriptor = unsafe open(path, flags | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw Failure(code: errno) }
    }

    deinit { _ = Glibc.close(descriptor) }

    /// Makes a new, empty file of mode 0600; fails with EEXIST where there is one (a symbolic link too).
    ///
    /// Made by root, it is given to the owner of its folder: `sudo gatehouse client add` before the first
    /// start must not leave a database that the service's own user cannot open.
    static func create(path: String) throws(Failure) -> PrivateFile {
        let file = try PrivateFile(path: path, flags: O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW)
        if geteuid() == 0 {
            var folder = stat()
            if unsafe stat(folderOf(path), &folder) == 0 {
                _ = fchown(file.descriptor, folder.st_uid, folder.st_gid)
            }
        }
        return file
    }

    borrowing func readAll(limit: Int) throws(Failure) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: limit)
        var filled = 0
        while filled < limit {
            let count = unsafe bytes.withUnsafeMutableBytes { buffer in
                unsafe read(descriptor, buffer.baseAddress?.advanced(by: filled), limit - filled)
            }
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw Failure(code: errno) }
            if count == 0 { break }
            filled += count
        }
        bytes.removeSubrange(filled...)
        return bytes
    }

    /// Writes all bytes and makes them durable.
    borrowing func writeAll(_ bytes: [UInt8]) throws(Failure) {
        var written = 0
        while written < bytes.count {
            let count = unsafe bytes.withUnsafeBytes { buffer in
                unsafe write(
                    descriptor, buffer.baseAddress?.advanced(by: written), bytes.count - written)
            }
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw Failure(code: errno) }
            written += count
        }
        guard fsync(descriptor) == 0 else { throw Failure(code: errno) }
    }

    /// Makes the names in the file's folder durable: a new file is only there for good after this.
    static func syncFolder(of path: String) throws(Failure) {
        let folder = try PrivateFile(path: folderOf(path), flags: O_RDONLY | O_DIRECTORY)
        guard fsync(folder.descriptor) == 0 else { throw Failure(code: errno) }
    }

    private static func folderOf(_ path: String) -> String {
        guard let slash = path.lastIndex(of: "/") else { return "." }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }
}
