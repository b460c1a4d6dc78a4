// swift-tools-version: 6.2
import PackageDescription

// Harnesses for libFuzzer, run by run.sh; a package of their own, so that the main build never pays for them.

/// A harness is one target that exports `LLVMFuzzerTestOneInput` and has no `main`: libFuzzer brings it.
/// Its seeds lie in Corpus under its name without `Fuzz`, in kebab case: FuzzRequestHead, Corpus/request-head.
func harness(_ name: String, _ rooms: [String], _ own: [Target.Dependency] = []) -> Target {
    .executableTarget(
        name: name,
        dependencies: rooms.map { .product(name: $0, package: "gatehouse") } + own,
        swiftSettings: [
            .swiftLanguageMode(.v6), .enableExperimentalFeature("Lifetimes"),
            .unsafeFlags(["-parse-as-library"]),
        ])
}

let package = Package(
    name: "gatehouse-fuzz",
    dependencies: [.package(name: "gatehouse", path: "..")],
    targets: [
        .target(name: "Comparison"),
        harness("FuzzRequestHead", ["HTTP"]),
        harness("FuzzChunkedBody", ["HTTP"]),
        harness("FuzzHTTP2", ["HTTP"], ["Comparison"]),
        harness("FuzzUpstreamHTTP2", ["HTTP"], ["Comparison"]),
        harness("FuzzConf", ["Configuration"]),
        harness("FuzzJWT", ["Gateway", "OAuth", "Cryptography", "Primitives"]),
        harness("FuzzOAuth1", ["HTTP", "OAuth"]),
    ]
)
