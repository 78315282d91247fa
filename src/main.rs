//! The one binary. Everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    convoy::cli::main()
}
