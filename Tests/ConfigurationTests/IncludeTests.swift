import Configuration
import Testing

@Suite struct IncludeTests {
    @Test func aPatternIsRelativeToTheFileThatNamesIt() throws {
        var memory = Memory.usual
        memory.matches["/etc/gatehouse/conf.d/*.conf"] = [
            "/etc/gatehouse/conf.d/a.conf", "/etc/gatehouse/conf.d/b.conf",
        ]
        memory.files["/etc/gatehouse/conf.d/a.conf"] = "include sub/c.conf;"
        memory.files["/etc/gatehouse/conf.d/sub/c.conf"] = "workers 3;"
        memory.files["/etc/gatehouse/conf.d/b.conf"] = "token_cache off;"
        let configuration = try loaded(base + "include conf.d/*.conf;", memory)
        #expect(configuration.workers == 3)
        #expect(configuration.tokenCacheBytes == 0)
    }

    @Test func aBlockMayIncludeItsDirectives() throws {
        var memory = Memory.usual
        memory.files["/x/policy"] = "methods GET;"
        let configuration = try loaded(
            base + "route /x { upstream app; include /x/policy; }", memory)
        #expect(configuration.routes.last?.methods == ["GET"])
    }

    @Test func aPatternMayMatchNothingButANameMustExist() {
        #expect(Memory().load(base + "include conf.d/*.conf;").diagnostics.isEmpty)
        #expect(
            Memory().load(base + "include other.conf;").summaries
                == ["4:9: error: cannot include '/etc/gatehouse/other.conf': no such file"])
    }

    @Test func aCycleIsAnError() {
        var memory = Memory.usual
        memory.files["/etc/gatehouse/b.conf"] = "include gateway.conf;"
        let result = memory.load(base + "include b.conf;")
        #expect(result.diagnostics.map(\.file) == ["/etc/gatehouse/b.conf"])
        #expect(
            result.summaries == [
                "1:9: error: this include is a cycle: /etc/gatehouse/gateway.conf -> /etc/gatehouse/b.conf -> /etc/gatehouse/gateway.conf"
            ])
    }

    @Test func theSameFileMayBeIncludedTwiceSideBySide() {
        var memory = Memory.usual
        memory.files["/x/limits"] = "timeout 5s;"
        let routes = ["/a", "/b"].map { "route \($0) { upstream app; include /x/limits; }" }
        #expect(memory.load(base + routes.joined()).diagnostics.isEmpty)
    }

    @Test func depthAndNumberAreBounded() {
        var deep = Memory.usual
        for level in 0..<20 { deep.files["/d/\(level)"] = "include \(level + 1);" }
        #expect(
            deep.load(base + "include /d/0;").summaries
                == ["1:9: error: files include files more than 8 deep"])
        var wide = Memory.usual
        wide.matches["/w/*"] = (0..<64).map { "/w/\($0)" }
        for number in 0..<64 { wide.files["/w/\(number)"] = "" }
        #expect(wide.load(base + "include /w/*;").summaries == ["4:9: error: more than 64 files"])
        wide.matches["/w/*"]?.removeLast()
        #expect(wide.load(base + "include /w/*;").diagnostics.isEmpty)
    }

    @Test(arguments: ["include;", "include a b;", "include a { }", "include \"\";"])
    func otherForms(statement: String) {
        #expect(
            Memory().load(base + statement).summaries
                == ["4:1: error: 'include' takes one pattern"])
    }

    @Test func mistakesOfAllFilesAreReportedInOrder() {
        var memory = Memory.usual
        memory.files["/x"] = "\nworkers x;"
        let result = memory.load(base + "include /x;\nbogus;")
        #expect(
            result.diagnostics.map { "\($0.file):\($0.line)" } == ["gateway.conf:5", "/x:2"])
    }

    @Test func aMissingConfIsOneClearLine() {
        let result = ConfigurationLoader.load(path: "/no/gateway.conf", source: Memory().source)
        #expect(
            result.diagnostics.map { $0.rendered() }
                == ["/no/gateway.conf: error: cannot be read: no such file\n"])
    }
}
