import Foundation
import Testing

@testable import Configuration

/// The real file system behind a conf.
@Suite struct FileSystemTests {
    let folder: URL

    init() throws {
        folder = FileManager.default.temporaryDirectory
            .appendingPathComponent("conf-\(UUID().uuidString)").resolvingSymlinksInPath()
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    }

    private func write(_ name: String, _ text: String, mode: Int = 0o600) throws {
        let path = folder.appendingPathComponent(name).path
        try Data(text.utf8).write(to: URL(fileURLWithPath: path))
        try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: path)
    }

    private func load(_ conf: String) throws -> LoadResult {
        defer { try? FileManager.default.removeItem(at: folder) }
        try write("gateway.conf", conf)
        return ConfigurationLoader.load(
            path: folder.appendingPathComponent("gateway.conf").path, source: .fileSystem)
    }

    @Test func filesAreFoundAndTheirModesSeen() throws {
        try write("b.part", "client b { secret_file closed; }")
        try write("a.part", "client a { secret_file open; }")
        try write("closed", "x")
        try write("open", "x", mode: 0o644)
        let result = try load(base + "include *.part;")
        #expect(result.configuration?.clients.map(\.id) == ["a", "b"])
        #expect(result.diagnostics.map(\.severity) == [.warning])
        #expect(result.diagnostics[0].file.hasSuffix("/a.part"))
    }

    @Test func whatIsNoFileIsRefused() throws {
        let name = folder.path
        let result = try load(
            base + "client c { secret_file \(name); }\ninclude \(name);\ninclude none;")
        #expect(
            result.diagnostics.map(\.message) == [
                "cannot read '\(name)': not a regular file",
                "cannot include '\(name)': not a regular file",
                "cannot include '\(name)/none': no such file",
            ])
    }

    @Test func aPipeDoesNotHoldUpTheStart() throws {
        let pipe = folder.appendingPathComponent("pipe").path
        #expect(mkfifo(pipe, 0o600) == 0)
        let result = try load(base + "include \(pipe);")
        #expect(
            result.diagnostics.map(\.message) == ["cannot include '\(pipe)': not a regular file"])
    }

    @Test func theEnvironmentIsTheProcesss() throws {
        let home = try #require(ProcessInfo.processInfo.environment["PATH"])
        #expect(ConfigurationSource.fileSystem.environment("PATH") == home)
        #expect(ConfigurationSource.fileSystem.environment("GATEHOUSE_NOT_SET") == nil)
        #expect(ConfigurationSource.fileSystem.workingDirectory.hasPrefix("/"))
    }
}

@Suite struct NearestNameTests {
    @Test(arguments: [
        ("listner", "listener"), ("LISTENER", "listener"), ("tiemout", "timeout"),
        ("upstreams", "upstream"), ("b", nil), ("nothing_like_it", nil), ("", nil),
    ])
    func nearest(word: String, expected: String?) {
        #expect(
            nearestName(to: word, among: ["listener", "timeout", "upstream", "log"]) == expected)
    }

    @Test(arguments: [
        ("", "", 0), ("abc", "", 3), ("abc", "acb", 1), ("abc", "axc", 1), ("abc", "abcd", 1),
    ])
    func distance(left: String, right: String, expected: Int) {
        #expect(editDistance(Array(left.utf8), Array(right.utf8)) == expected)
    }
}
