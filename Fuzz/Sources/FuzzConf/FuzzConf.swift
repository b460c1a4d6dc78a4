import Configuration

/// A world in which every named file exists, no other conf file does, and `${HOME}` is set.
private let source = ConfigurationSource(
    readFile: { _, _ in .failure(.notFound) },
    glob: { _ in [] },
    environment: { $0 == "HOME" ? "/home/${x}; \"\\" : nil },
    inspect: { _ in .success(FileFacts(mode: 0o600)) },
    workingDirectory: "/etc/gatehouse")

private func load(_ text: [UInt8]) -> LoadResult {
    var source = source
    source.readFile = { path, limit in
        guard path == "/etc/gatehouse/gateway.conf" else { return .failure(.notFound) }
        return text.count > limit ? .failure(.tooLarge(limit: limit)) : .success(text)
    }
    return ConfigurationLoader.load(path: "gateway.conf", source: source)
}

/// No text crashes the reader; what is refused has an error that says where; what is accepted
/// prints as a conf that loads to an equal configuration without an error.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzConf(_ data: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    let result = load(Array(UnsafeBufferPointer(start: data, count: count)))
    for diagnostic in result.diagnostics { precondition(!diagnostic.rendered().isEmpty) }
    guard let configuration = result.configuration else {
        precondition(
            result.diagnostics.contains { $0.severity == .error }, "refused without a word")
        return 0
    }
    precondition(!result.diagnostics.contains { $0.severity == .error }, "accepted with an error")
    let printed = configuration.printed()
    // The effective conf may outgrow the size of a file; then it is refused as such.
    guard printed.utf8.count <= 1 << 20 else { return 0 }
    precondition(
        load(Array(printed.utf8)).configuration == configuration, "printed otherwise than read")
    return 0
}
