/// PEM texts made with `openssl` for these tests; the first four hold one RSA key.
enum SampleKeys {
    static let rsaPublicKeyInfo = """
        -----BEGIN PUBLIC KEY-----
        MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAjuZBrM3pZrWV+m4nsX0u
        WYV0lqsmDocP2uupMXHD9Ft+ENWQz69vC4CmNxh7lFX0Ix9PMDlvOBXlQb7m5H21
        J47P5KJxcPjLAyiJe/FCUUNrqKtQSgB4eX48+E3yfq4JBuOeXTh9MyYJXeiIER7U
        23rrbOa1v5X81usqTpE6QpfjdJgOHgIxQ8rUwqXuQ7B/dg3CEEY5esUDtnHWGd2l
        jfPTZRKp1VvjHY/uRMcNT4l7bEA0G+nskwpT8KFLGutiu+17+0gBJ7vFj0CsrHx4
        GVQsOz33/cCaDDCPHaHQXqxhA8v2J95Ll/c1mYW/X/meD5GkPr1VFSncwATuBINu
        JQIDAQAB
        -----END PUBLIC KEY-----
        """

    static let rsaPublicKey = """
        -----BEGIN RSA PUBLIC KEY-----
        MIIBCgKCAQEAjuZBrM3pZrWV+m4nsX0uWYV0lqsmDocP2uupMXHD9Ft+ENWQz69v
        C4CmNxh7lFX0Ix9PMDlvOBXlQb7m5H21J47P5KJxcPjLAyiJe/FCUUNrqKtQSgB4
        eX48+E3yfq4JBuOeXTh9MyYJXeiIER7U23rrbOa1v5X81usqTpE6QpfjdJgOHgIx
        Q8rUwqXuQ7B/dg3CEEY5esUDtnHWGd2ljfPTZRKp1VvjHY/uRMcNT4l7bEA0G+ns
        kwpT8KFLGutiu+17+0gBJ7vFj0CsrHx4GVQsOz33/cCaDDCPHaHQXqxhA8v2J95L
        l/c1mYW/X/meD5GkPr1VFSncwATuBINuJQIDAQAB
        -----END RSA PUBLIC KEY-----
        """

    static let certificate = """
        -----BEGIN CERTIFICATE-----
        MIIDATCCAemgAwIBAgIUJXm8Fawnanc3n/7UeMUyMzBVBEMwDQYJKoZIhvcNAQEL
        BQAwDzENMAsGA1UEAwwEdGVzdDAgFw0yNjExMjMwNzUwMjVaGA8yMTI2MTAzMDA3
        NTAyNVowDzENMAsGA1UEAwwEdGVzdDCCASIwDQYJKoZIhvcNAQEBBQADggEPADCC
        AQoCggEBAI7mQazN6Wa1lfpuJ7F9LlmFdJarJg6HD9rrqTFxw/RbfhDVkM+vbwuA
        pjcYe5RV9CMfTzA5bzgV5UG+5uR9tSeOz+SicXD4ywMoiXvxQlFDa6irUEoAeHl+
        PPhN8n6uCQbjnl04fTMmCV3oiBEe1Nt662zmtb+V/NbrKk6ROkKX43SYDh4CMUPK
        1MKl7kOwf3YNwhBGOXrFA7Zx1hndpY3z02USqdVb4x2P7kTHDU+Je2xANBvp7JMK
        U/ChSxrrYrvte/tIASe7xY9ArKx8eBlULDs99/3Amgwwjx2h0F6sYQPL9ifeS5f3
        NZmFv1/5ng+RpD69VRUp3MAE7gSDbiUCAwEAAaNTMFEwHQYDVR0OBBYEFCcSgPPV
        yUD8yhqVIribYoMllYOQMB8GA1UdIwQYMBaAFCcSgPPVyUD8yhqVIribYoMllYOQ
        MA8GA1UdEwEB/wQFMAMBAf8wDQYJKoZIhvcNAQELBQADggEBAHOAx0/mRr+Qf5Dz
        DA+Uy+Wu7HH2EBM12dsnkaU1U+p5+v126vwSnzwWZeGELvoA6+CyvlxzYND5I9sQ
        jqlQ6Qupnnw0gGxc0sEQcElZZkI2MrdfmLRYVNnhsUN5ZcptFVPZad1hQMvC0qUa
        8Glh6kpLJUlOgw9ghM0zoihnvUJ3hQP53i45JQGG06yGWHzgZOevhkq03CTt+xTU
        Ve//w46qOsA1bha6ZBT8+5QCy9VOATGgKOAJbTZXf9kTd2snd5XBKvASNfRxzBPO
        rrM2B3u6DNWhX8hiyary5jy729S3rYZ+UXCK7JjUQfaTahgB6SPDkvovRQemLlkM
        QdgkIhw=
        -----END CERTIFICATE-----
        """

    static let rsaPrivateKey = """
        -----BEGIN PRIVATE KEY-----
        MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQCO5kGszelmtZX6
        biexfS5ZhXSWqyYOhw/a66kxccP0W34Q1ZDPr28LgKY3GHuUVfQjH08wOW84FeVB
        vubkfbUnjs/konFw+MsDKIl78UJRQ2uoq1BKAHh5fjz4TfJ+rgkG455dOH0zJgld
        6IgRHtTbeuts5rW/lfzW6ypOkTpCl+N0mA4eAjFDytTCpe5DsH92DcIQRjl6xQO2
        cdYZ3aWN89NlEqnVW+Mdj+5Exw1PiXtsQDQb6eyTClPwoUsa62K77Xv7SAEnu8WP
        QKysfHgZVCw7Pff9wJoMMI8dodBerGEDy/Yn3kuX9zWZhb9f+Z4PkaQ+vVUVKdzA
        BO4Eg24lAgMBAAECggEAAfgv8wkCfMEncERo5SQXybGSbgotU9luMUL6ubz66akC
        J4q9/HLLScIL6Gn8uApoOzyw+3XrL79zgbC3H3KRFtq7yEep3xf6ulAqduwYESUn
        /HLiACcaAfior/ZpD3BoHPFxqxC+fwA49FOiXnQJlH3Q9VcHrbyMN80Vb/BF+Il4
        mYYXcarzOorvlUUSx4H3DapXNqJc+yO6kNNH9aLl0R3emdefM4uDavyfqwNek8p9
        Kev9b++v36AeFvW4jqEWa96AlQD9L8hKDhu1dBVzTkN8hife2vHgyvczNgnx48pi
        +Wp3Exmaj9dakciPJm6Hdx8HjuDKBS13m3zqipULiQKBgQDFEcDa/UnjoRYWCuwq
        c995sZ1wQoz6hmcGr+L0AYEYkpzCsHaaSISa74+Pxc27mGf26c86Wb79seYJHvJM
        g7Yh520gmuvdMvCPal2CIkz1JciqH/twyQYIZk6LnMhj6otNUnHSNDoQjZ0s+HpZ
        VrOQry7BrHxKdYNcBXBgl48kTQKBgQC5oaKQOpyy9eoQNrmJ1EgvCfpPHkOqFj9S
        G4D8VcM7tO2SKzqfVsnUeRig618u82jz2TIGdmNjRuR2KRoNTNcAXTPq/40wa7Ia
        nEZGcdawu+lheQf/pDBVdx7UCJBSPcaXL2u3GX+fmYDRHEvTJ+c0zN37CuSaroiX
        jpKPaPY9OQKBgB/Irzwioeourus7M7/dFGwCM4xJj4dQaglwEMCeBX47F0FnSJm1
        nH2IqbTciEP7Xrk6GIwmsWElch6CeT3R+GwbcURS+Dui3Z2j4BT/Bz56q5SUt+8G
        3Qw5w+1Mih1jVLhR1b27YqoMzQ7VvJXwH+Hz/yyJbzprHZaX4foSN6n5AoGACGGa
        5GYxEwd1ZPwDjoyOIcmSiqX0KibM/xkMztfUc8qse1AGWpFhlX1ONl3KM2V8FJ52
        2sHXpPDbedZLPdR9VJ/gqziUmF4UcY0iwyV6qwog9GyxhsJUCFfThYFJet0dLVBP
        zbmSAJO+tDJR3hvMHZ8uWppYTf+ZXTZruZvkmkkCgYEAtSWirLt8CvGvWTEdpn6h
        k6s/+An9csHwh80nN1prydL2alTakiYcox90NNF7YIcLBE/+NzuIZNscQTidCDy5
        xmSvMBLx/N2w8lo6X1q5Hqy6UKUV+VlgzfQ/cyqeeb8JgS+1JqgXMB8N1Z4PODBz
        7pK9Q3dlHmhIcOXMk+K1uJ0=
        -----END PRIVATE KEY-----
        """

    static let ecPublicKey = """
        -----BEGIN PUBLIC KEY-----
        MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEpqr5s3fAWEGRPI6T3oZI27+cUbLb
        0P26H2vAsGBXsLGe99/Se3BqZdUuk9ZSyjTQ2ZyZQI1wpO/LZ8iiLl9yAg==
        -----END PUBLIC KEY-----
        """

    static let ecPrivateKey = """
        -----BEGIN EC PRIVATE KEY-----
        MHcCAQEEIIBKCOshRSrVrDLFgcx1ry0GDFFv0R2dbLpYfCamiRQ9oAoGCCqGSM49
        AwEHoUQDQgAEpqr5s3fAWEGRPI6T3oZI27+cUbLb0P26H2vAsGBXsLGe99/Se3Bq
        ZdUuk9ZSyjTQ2ZyZQI1wpO/LZ8iiLl9yAg==
        -----END EC PRIVATE KEY-----
        """

    static let encryptedPrivateKey = """
        -----BEGIN ENCRYPTED PRIVATE KEY-----
        MIHsMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAhgHSktCeTMRQICCAAw
        DAYIKoZIhvcNAgkFADAdBglghkgBZQMEASoEEPspeJR0cfenzBEaei5+BwcEgZC8
        ZkNgTDGZxdriRTuIP1rlWt0du7vgxmFzylrydT9ymFcu0jypu6D1pLaxj6F717yw
        Eic/K2/U2hNWiSiaY2uTBn+YJqh+mT3BluDiHJHlOvZD9zUofzg/AkMN5TLGqXGL
        34+D/VABtAbtblP8Th9sPNwwI77vvY7P8kr3VGwncQVogtbm8OX9SwRT0eTWtY0=
        -----END ENCRYPTED PRIVATE KEY-----
        """

    static let secp256k1PublicKey = """
        -----BEGIN PUBLIC KEY-----
        MFYwEAYHKoZIzj0CAQYFK4EEAAoDQgAEPGQm0swzgOgZelRLYQTJWJ3Li5h7bwiU
        PUjjL9wwGSoh2zgdvHYHLRU/R1ewiqhEYDWoNoJozIq5rUy5+fvdsQ==
        -----END PUBLIC KEY-----
        """

    static let x25519PublicKey = """
        -----BEGIN PUBLIC KEY-----
        MCowBQYDK2VuAyEAVKm8lnKQtzWsFcoGTVgsu2wk7BGEdmnkygfmUqf2PyY=
        -----END PUBLIC KEY-----
        """

    static let rsaPSSPublicKey = """
        -----BEGIN PUBLIC KEY-----
        MIIBIDALBgkqhkiG9w0BAQoDggEPADCCAQoCggEBAKhKyms9eVS21EuxQVVPMlEy
        wcthpfCadWGUluNOrNjrcDzaEQkyFEVtMm6048YAKSrcRR7yug4YZg1cwKpBFNpH
        f8C9WCHTU6yILVoaQyOi+srQZ+cJiC2r4uESuJA1+dk/bzMfd8m6xw9LMoRR8rxU
        C/oSK5c1doAs42JxLGIeVp22LrM7gp2bsS3LSoF+oK4fbEM+Znb3wLKg3qQETttC
        6bPVMQCCV7qiA6Q0hbnEBxzHj5kj3UN8ZY9+joGtKCK9hPZQnTYFnzjQVW5MNx4Q
        b8qC+iR3a1Zkkh0fb4nPrKZDttH1A5uYCqeBAF1poec2smxIVfCzNdQOI/OJJLkC
        AwEAAQ==
        -----END PUBLIC KEY-----
        """
}
