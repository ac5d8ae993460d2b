//! Writes the inputs that a corpus begins with into `corpus/TARGET/`, beside those that campaigns have found.
#![forbid(unsafe_code)]

use std::path::Path;
use std::process::ExitCode;

fn write() -> std::io::Result<usize> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let seeds = symbolon_fuzz::seeds();
    for (number, (target, bytes)) in seeds.iter().enumerate() {
        let folder = corpus.join(target);
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join(format!("seed-{number:02}")), bytes)?;
    }
    Ok(seeds.len())
}

fn main() -> ExitCode {
    match write() {
        Ok(count) => {
            println!("{count} seeds written");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: the corpus cannot be written: {error}");
            ExitCode::FAILURE
        }
    }
}
