import Foundation

/// The path of a program that the test needs.
///
/// - Throws: a failure that names the Debian package; a test that needs a peer never passes without it.
public func requireTool(_ name: String, package: String) throws -> String {
    let path = ProcessInfo.processInfo.environment["PATH"] ?? ""
    if name.hasPrefix("/"), access(name, X_OK) == 0 { return name }
    for folder in path.split(separator: ":").map(String.init) + ["/usr/sbin", "/sbin"] {
        let candidate = folder + "/" + name
        if access(candidate, X_OK) == 0 { return candidate }
    }
    throw Failure("\(name) is missing: apt-get install \(package)")
}

/// The path of a Python 3 that can import `module`.
///
/// - Throws: a failure that names the Debian package.
public func requirePython(module: String, package: String) throws -> String {
    let variable = ProcessInfo.processInfo.environment["GATEHOUSE_TEST_PYTHON"]
    // Debian's own: the modules come as its packages, which a python3 elsewhere on the PATH does not see.
    let python = try variable ?? requireTool("/usr/bin/python3", package: "python3")
    guard try run(python, ["-c", "import \(module)"]).status == .code(0) else {
        throw Failure("Python's \(module) is missing: apt-get install \(package)")
    }
    return python
}

/// The built program: what `GATEHOUSE_BINARY` names, else `gatehouse` beside the test bundle, which is right for debug
/// and release builds and under every scratch path.
///
/// - Throws: when it has not been built.
public func gatehouseBinary() throws -> String {
    if let path = ProcessInfo.processInfo.environment["GATEHOUSE_BINARY"] { return path }
    let bundle = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
    let folders = [bundle, CommandLine.arguments.first ?? ""].map {
        URL(fileURLWithPath: $0).deletingLastPathComponent()
    }
    for folder in folders {
        let candidate = folder.appendingPathComponent("gatehouse").path
        if access(candidate, X_OK) == 0 { return candidate }
    }
    throw Failure("no gatehouse beside \(folders.map(\.path)): run swift build first")
}

/// A TCP port of 127.0.0.1 that was free a moment ago. Where a program can be told port 0, that is better: between this
/// call and the program's own bind another process might take the port.
public func freePort() throws -> UInt16 {
    let listener = try LoopbackListener()
    return listener.port
}

/// Takes away what `faketime` wrappers that were killed have left in shared memory: one that gets the process id of a dead
/// one finds its names taken, and gives up.
public func removeStaleFaketime() {
    let folder = "/dev/shm"
    for name in (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
    where name.contains("faketime_") {
        guard let id = name.split(separator: "_").last.flatMap({ pid_t($0) }),
            kill(id, 0) != 0, errno == ESRCH
        else { continue }
        try? FileManager.default.removeItem(atPath: "\(folder)/\(name)")
    }
}

/// A count from the environment: how often a drill is done, which is seldom in CI.
public func environmentNumber(_ name: String) -> Int? {
    ProcessInfo.processInfo.environment[name].flatMap { Int($0) }
}
