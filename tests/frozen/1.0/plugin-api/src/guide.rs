//! How to write a plugin, chapter by chapter. Every example is compiled, and most are run, by this crate's tests.

pub mod first_plugin {
    #![doc = include_str!("../docs/guide/first-plugin.md")]
}
pub mod log_likelihood {
    #![doc = include_str!("../docs/guide/log-likelihood.md")]
}
pub mod streaming {
    #![doc = include_str!("../docs/guide/streaming.md")]
}
pub mod batches {
    #![doc = include_str!("../docs/guide/batches.md")]
}
pub mod errors {
    #![doc = include_str!("../docs/guide/errors.md")]
}
pub mod config_and_schema {
    #![doc = include_str!("../docs/guide/config-and-schema.md")]
}
pub mod secrets_and_origins {
    #![doc = include_str!("../docs/guide/secrets-and-origins.md")]
}
pub mod testing {
    #![doc = include_str!("../docs/guide/testing.md")]
}
pub mod versioning {
    #![doc = include_str!("../docs/guide/versioning.md")]
}
pub mod other_languages {
    #![doc = include_str!("../docs/guide/other-languages.md")]
}
pub mod abi {
    #![doc = include_str!("../docs/abi.md")]
}
pub mod c_example {
    //! A whole backend in C, `examples/echo.c`.
    //!
    //! ```c
    #![doc = include_str!("../examples/echo.c")]
    //! ```
}
