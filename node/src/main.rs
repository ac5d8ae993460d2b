//! The member daemon of a Symbolon cluster.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    symbolon_node::cli::main()
}
