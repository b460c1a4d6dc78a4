// swift-tools-version: 6.2
import PackageDescription

// The micro-benchmarks, run by seams.sh; a package of their own, so that the main build never pays for them.

let package = Package(
    name: "gatehouse-benchmarks",
    dependencies: [.package(name: "gatehouse", path: "..")],
    targets: [
        // In C, and with the libraries as they are: what a seam's cost is held against.
        .target(
            name: "References",
            linkerSettings: [.linkedLibrary("crypto"), .linkedLibrary("nghttp2")]),
        .executableTarget(
            name: "Seams",
            dependencies: ["References"]
                + ["Primitives", "Cryptography", "HTTP", "Configuration", "OAuth", "Gateway"].map {
                    .product(name: $0, package: "gatehouse")
                },
            swiftSettings: [.swiftLanguageMode(.v6), .enableExperimentalFeature("Lifetimes")]),
    ]
)
