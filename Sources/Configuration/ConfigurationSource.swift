import Glibc

/// Why a file could not be read or looked at.
public enum FileError: Error, Sendable, Equatable {
    case notFound
    case notPermitted
    case notRegular
    /// Longer than the limit that the reader gave, in bytes.
    case tooLarge(limit: Int)
    /// Any other `errno`.
    case system(Int32)
}

extension FileError: CustomStringConvertible {
    public var description: String {
        switch self {
        case .notFound: "no such file"
        case .notPermitted: "permission denied"
        case .notRegular: "not a regular file"
        case .tooLarge(let limit): "longer than \(limit) bytes"
        case .system(let code): "system error \(code)"
        }
    }
}

/// What a check needs to know of a file whose content it must not read.
public struct FileFacts: Sendable, Equatable {
    /// The permission bits, `st_mode & 0o7777`.
    public var mode: UInt32

    public init(mode: UInt32) {
        self.mode = mode
    }

    /// Anyone on the machine may read it.
    public var isReadableByOthers: Bool { mode & 0o004 != 0 }
}

/// Where a conf comes from: everything that loading one asks of the world, so that tests and the
/// fuzzer can load from memory and the rest stays a function of text.
public struct ConfigurationSource: Sendable {
    /// The whole content of a regular file of at most `limit` bytes.
    public var readFile: @Sendable (_ path: String, _ limit: Int) -> Result<[UInt8], FileError>
    /// The paths that match an absolute pattern, in the order in which they are to be read.
    public var glob: @Sendable (_ pattern: String) -> [String]
    /// The value of an environment variable; `nil` when unset or not UTF-8.
    public var environment: @Sendable (_ name: String) -> String?
    /// Facts about a file that this process may read; its content is not looked at.
    public var inspect: @Sendable (_ path: String) -> Result<FileFacts, FileError>
    /// Absolute; what a relative conf path is relative to.
    public var workingDirectory: String

    public init(
        readFile: @escaping @Sendable (String, Int) -> Result<[UInt8], FileError>,
        glob: @escaping @Sendable (String) -> [String],
        environment: @escaping @Sendable (String) -> String?,
        inspect: @escaping @Sendable (String) -> Result<FileFacts, FileError>,
        workingDirectory: String
    ) {
        self.readFile = readFile
        self.glob = glob
        self.environment = environment
        self.inspect = inspect
        self.workingDirectory = workingDirectory
    }
}

extension ConfigurationSource {
    /// The machine's own files and environment.
    public static var fileSystem: ConfigurationSource {
        ConfigurationSource(
            readFile: { path, limit in readRegularFile(path, limit: limit) },
            glob: matchingPaths,
            environment: { name in
                guard let value = unsafe getenv(name) else { return nil }
                return unsafe String(validatingCString: value)
            },
            inspect: inspectFile,
            workingDirectory: currentDirectory())
    }
}

private func fileError(_ code: Int32) -> FileError {
    switch code {
    case ENOENT, ENOTDIR: .notFound
    case EACCES, EPERM: .notPermitted
    default: .system(code)
    }
}

private func readRegularFile(_ path: String, limit: Int) -> Result<[UInt8], FileError> {
    // O_NONBLOCK: opening a FIFO that someone put there must not hang the start.
    let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard descriptor >= 0 else { return .failure(fileError(errno)) }
    defer { close(descriptor) }
    var facts = stat()
    guard unsafe fstat(descriptor, &facts) == 0 else { return .failure(fileError(errno)) }
    guard facts.st_mode & S_IFMT == S_IFREG else { return .failure(.notRegular) }

    var content: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 65_536)
    while true {
        let count = unsafe chunk.withUnsafeMutableBytes { raw in
            unsafe read(descriptor, raw.baseAddress, raw.count)
        }
        if count < 0 {
            if errno == EINTR { continue }
            return .failure(fileError(errno))
        }
        if count == 0 { return .success(content) }
        content += chunk[..<count]
        guard content.count <= limit else { return .failure(.tooLarge(limit: limit)) }
    }
}

private func inspectFile(_ path: String) -> Result<FileFacts, FileError> {
    var facts = stat()
    guard unsafe stat(path, &facts) == 0 else { return .failure(fileError(errno)) }
    guard facts.st_mode & S_IFMT == S_IFREG else { return .failure(.notRegular) }
    guard unsafe access(path, R_OK) == 0 else { return .failure(fileError(errno)) }
    return .success(FileFacts(mode: facts.st_mode & 0o7777))
}

private func matchingPaths(_ pattern: String) -> [String] {
    var found = unsafe glob_t()
    defer { unsafe globfree(&found) }
    guard unsafe glob(pattern, 0, nil, &found) == 0 else { return [] }
    var paths: [String] = []
    for index in unsafe 0..<Int(found.gl_pathc) {
        guard let path = unsafe found.gl_pathv[index] else { continue }
        paths.append(unsafe String(cString: path))
    }
    return paths
}

private func currentDirectory() -> String {
    var buffer = [CChar](repeating: 0, count: Int(PATH_MAX))
    guard unsafe getcwd(&buffer, buffer.count) != nil else { return "/" }
    return String(decoding: buffer.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
}
